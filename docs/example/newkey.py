"""Makes an agent's key: agent.pem stays with the agent, agent.jwk is what is registered."""
import base64, json, os
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

key = Ed25519PrivateKey.generate()
pem = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
with open(os.open("agent.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
    file.write(pem)
x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
with open("agent.jwk", "x") as file:
    json.dump({"kty": "OKP", "crv": "Ed25519", "x": x}, file)
