"""Authlib's OAuth client, as it is published, from the issuer's URL alone (RFC 8414).

One JSON object on standard input: {"issuer", "client_id", "key" (private JWK), "details",
"resource"}. On standard output: {"gatepass", "introspection"}, or {"refused": <OAuth error>}.
"""

import json
import sys
import time

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from joserfc.jwk import OKPKey


def method(metadata):
    """The audience is the issuer, and an assertion lives five minutes at most; Authlib's defaults
    are the token endpoint and an hour. It writes its `jti` into these claims, so they serve once.
    """
    claims = {"exp": int(time.time()) + 60}
    return PrivateKeyJWT(metadata["issuer"], claims=claims, alg="EdDSA")


def main():
    asked = json.load(sys.stdin)
    found = requests.get(get_well_known_url(asked["issuer"], external=True), timeout=10)
    found.raise_for_status()
    metadata = AuthorizationServerMetadata(found.json())
    # The rest of its own validation wants an authorization endpoint and TLS; neither is here.
    assert metadata["issuer"] == asked["issuer"]
    metadata.validate_token_endpoint_auth_methods_supported()
    metadata.validate_token_endpoint_auth_signing_alg_values_supported()
    session = OAuth2Session(
        asked["client_id"],
        OKPKey.import_key(asked["key"]),
        token_endpoint_auth_method="private_key_jwt",
        introspection_endpoint_auth_method="private_key_jwt",
    )
    session.register_client_auth_method(method(metadata))
    try:
        token = session.fetch_token(
            metadata["token_endpoint"],
            grant_type="client_credentials",
            authorization_details=json.dumps(asked["details"]),
            resource=asked["resource"],
        )
    except OAuthError as error:
        return {"refused": error.error}
    session.register_client_auth_method(method(metadata))
    answer = session.introspect_token(
        metadata["introspection_endpoint"], token=token["access_token"]
    )
    return {"gatepass": token["access_token"], "introspection": answer.json()}


json.dump(main(), sys.stdout)
