"""Checks a gatepass at the target system, with the issuer's public keys only; target.md says what this proves.
Needs the package `cryptography`. Prints the claims and exits 0, or says why not and exits 1. It knows no revocations."""
import argparse, base64, json, re, sys, time
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
ENTRY = {"type", "actions", "locations", "constraints"}  # `uses`, `args_digest`, `identifier` cannot be checked here
BOUNDS = {"max", "min", "equals", "in", "prefix"}
class Denied(Exception): pass
def need(holds, code):
    if not holds: raise Denied(code)
def once(pairs):  # of two members of one name some readers take the first, others the last
    need(len(dict(pairs)) == len(pairs), "malformed"); return dict(pairs)
def decode(text):
    need(re.fullmatch(r"[A-Za-z0-9_-]+", text), "malformed")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "malformed"); return data
def parse(text): return json.loads(decode(text).decode(), object_pairs_hook=once)
def texts(value): return isinstance(value, list) and value != [] and all(type(one) is str for one in value)
def verify(token, keys, issuer, environment, audience, action, now):
    """The claims, and the constraints of each entry that grants the action: hold the request to all of one of them."""
    need(len(token) <= 8192 and token.count(".") == 2, "malformed")
    head, body, signature = token.split(".")
    header = parse(head)
    need(isinstance(header, dict) and set(header) == {"alg", "typ", "kid"} and header["typ"] == "at+jwt", "malformed")
    key = next((key for key in keys if key["kid"] == header["kid"]), None)
    need(key, "unknown_key"); need(header["alg"] == key["alg"] and key["alg"] in ("EdDSA", "Ed25519"), "unsupported_algorithm")
    try: Ed25519PublicKey.from_public_bytes(decode(key["x"])).verify(decode(signature), f"{head}.{body}".encode())
    except InvalidSignature: raise Denied("bad_signature") from None
    claims = parse(body)
    need(claims["iss"] == issuer, "wrong_issuer")
    need(claims["env"] == environment, "wrong_environment")
    need(audience in ([claims["aud"]] if type(claims["aud"]) is str else claims["aud"]), "wrong_audience")
    need(type(claims["exp"]) is int and type(claims["iat"]) is int and 0 < claims["exp"] - claims["iat"] <= 3600, "malformed")
    need(now < claims["exp"], "expired"); need(max(claims["iat"], claims.get("nbf", 0)) <= now + 30, "not_yet_valid")
    need(claims["client_id"] == claims.get("act", claims)["sub"], "malformed")
    need(not {"cnf", "req_wl"} & set(claims), "unsupported_restriction")
    granting = []
    for entry in claims["authorization_details"]:
        need(entry["type"] == "agent_action" and set(entry) <= ENTRY and texts(entry["actions"]), "unsupported_restriction")
        bounds, places = entry.get("constraints", {}), entry.get("locations", [audience])
        need(texts(places) and all(set(bound) and set(bound) <= BOUNDS for bound in bounds.values()), "unsupported_restriction")
        if action in entry["actions"] and audience in places: granting.append(bounds)
    need(granting, "action_not_granted"); return claims, granting
if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__); arguments.add_argument("gatepass", type=argparse.FileType())
    for name in ("jwks", "issuer", "environment", "audience", "action"): arguments.add_argument(f"--{name}", required=True)
    given = arguments.parse_args(); keys = json.load(open(given.jwks))["keys"]
    try: print(json.dumps(verify(given.gatepass.read().strip(), keys, given.issuer, given.environment, given.audience, given.action, int(time.time()))[0]))
    except Denied as denied: sys.exit(f"denied: {denied}")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error: sys.exit(f"denied: malformed: {error!r}")
