"""Prints a client assertion (RFC 7523): assertion.py AGENT ISSUER, with agent.pem beside."""
import base64, json, sys, time, uuid
from cryptography.hazmat.primitives.serialization import load_pem_private_key

def b64(data): return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

agent, issuer = sys.argv[1:]
key = load_pem_private_key(open("agent.pem", "rb").read(), None)
now = int(time.time())
claims = {"iss": agent, "sub": agent, "aud": issuer, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
signed = b64(b'{"alg":"EdDSA"}') + "." + b64(json.dumps(claims).encode())
print(signed + "." + b64(key.sign(signed.encode())))
