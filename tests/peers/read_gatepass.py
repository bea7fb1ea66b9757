"""Reads and writes gatepasses with two JOSE libraries that share no code with Gatepass.

A list of JSON requests comes on standard input, the list of their answers goes to standard output.
Nothing here knows Gatepass's rules: it verifies a JWS with a JWK Set as RFC 7515 and RFC 8037 have
it and says what it found, so that the test can hold that against what was granted.

    {"do": "read", "with": "joserfc" | "authlib", "token": ..., "jwks": ...}
        -> {"header": ..., "claims": ..., "thumbprint": ...} or {"refused": <why>}
    {"do": "sign", "header": ..., "claims": ..., "key": <JWK>}
        -> {"token": ...}
"""

import base64
import hashlib
import json
import sys
import warnings

from joserfc import jwk, jws

# It says on import that its JOSE half moves to joserfc; until then it is a second opinion.
with warnings.catch_warnings(record=True):
    from authlib.jose import JsonWebKey, JsonWebSignature
    from authlib.jose.rfc8037.jws_eddsa import EdDSAAlgorithm

ALGORITHMS = ["EdDSA", "Ed25519"]


class Ed25519Algorithm(EdDSAAlgorithm):
    """RFC 9864's name for what authlib knows as `EdDSA` only."""

    name = "Ed25519"


JsonWebSignature.register_algorithm(Ed25519Algorithm())


def thumbprint(key):
    """RFC 7638 section 3 of an OKP key (RFC 8037 section 2)."""
    members = {"crv": key["crv"], "kty": key["kty"], "x": key["x"]}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def joserfc(token, jwks):
    keys = jwk.KeySet.import_key_set(jwks)
    found = jws.deserialize_compact(token, keys, algorithms=ALGORITHMS)
    return found.headers(), found.payload


def authlib(token, jwks):
    keys = JsonWebKey.import_key_set(jwks)
    find = lambda header, _: keys.find_by_kid(header["kid"])  # noqa: E731
    found = JsonWebSignature(ALGORITHMS).deserialize_compact(token, find)
    return found.header, found.payload


def read(request):
    library = {"joserfc": joserfc, "authlib": authlib}[request["with"]]
    try:
        header, payload = library(request["token"], request["jwks"])
    except Exception as error:  # The libraries have many kinds; all of them refuse.
        return {"refused": type(error).__name__}
    signer = next(key for key in request["jwks"]["keys"] if key["kid"] == header["kid"])
    return {
        "header": dict(header),
        "claims": json.loads(payload),
        "thumbprint": thumbprint(signer),
    }


def sign(request):
    key = jwk.import_key(request["key"])
    claims = json.dumps(request["claims"]).encode("utf-8")
    algorithms = [request["header"]["alg"]]
    return {"token": jws.serialize_compact(request["header"], claims, key, algorithms=algorithms)}


def main():
    answers = [{"read": read, "sign": sign}[one["do"]](one) for one in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
