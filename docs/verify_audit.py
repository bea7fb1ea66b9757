"""Checks an audit export with a public key only; audit.md has the format and what this proves.
Needs the package `cryptography`. Exit 0: it holds. Exit 1: it does not, and the first bad line."""
import argparse, base64, hashlib, json, re, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
HEAD_TYPE = "application/vnd.gatepass.audit-head.v1+json"
def need(holds, what):
    if not holds: raise ValueError(what)
def once(pairs):  # of two members of one name some readers take the first, others the last
    need(len(dict(pairs)) == len(pairs), "a member appears twice"); return dict(pairs)
def parse(text): return json.loads(text, object_pairs_hook=once)
def is_number(value, expected): return type(value) is int and value == expected
def check_record(line, number, prev):
    need(set(line) == {"n", "prev", "hash", "body"}, "neither a record nor the head")
    need(is_number(line["n"], number), f"n is {line['n']!r}, but the next record is {number}")
    need(line["prev"] == prev, "prev is not the hash of the record before")
    true = hashlib.sha256(f"{prev}\n{line['body']}".encode()).hexdigest()
    need(line["hash"] == true, "hash is not that of prev and body")
    need(is_number(parse(line["body"])["n"], number), f"the body is not that of record {number}")
    return true
def check_head(envelope, key, number, last):
    need(envelope["payloadType"] == HEAD_TYPE, "the envelope holds no audit head")
    payload = base64.b64decode(envelope["payload"], validate=True)
    message = b"DSSEv1 %d %s %d %s" % (len(HEAD_TYPE), HEAD_TYPE.encode(), len(payload), payload)
    def signs(signature):
        try: return key.verify(base64.b64decode(signature["sig"], validate=True), message) is None
        except InvalidSignature: return False
    need(any(map(signs, envelope["signatures"][:8])), "the head is not signed with this key")
    head = parse(payload)
    need(is_number(head["n"], number), f"the head is of record {head['n']!r}, the last is {number}")
    need(head["hash"] == last, "the head has not the hash of the last record")
    return f"environment {json.dumps(head['environment'])}, head signed at {head['at']:d}"
def verify(export, key, anchor):
    place, number, last, head, state = 0, 0, "0" * 64, None, "not anchored"
    try:
        for place, text in enumerate(export, 1):
            need(head is None, "something follows the head")
            line = parse(text.decode())
            if set(line) == {"head"}: head = check_head(line["head"], key, number, last)
            else:
                number, last = number + 1, check_record(line, number + 1, last)
                if anchor and number == anchor[0]:
                    need(last == anchor[1], "not the anchor's record, so this is another history")
                    state = "anchored"
        need(head, "after this line the head is missing, so records may be too")
        need(not anchor or state == "anchored", "the anchor's record is not up to this line")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        kind = "" if type(error) is ValueError else f"malformed: {type(error).__name__}: "
        sys.exit(f"bad: line {place}: {kind}{error}")
    print(f"ok: {number} records, head signed, {state}\n{head}")
def public_key(text):
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text + "=", b"-_", validate=True))
def record(text):
    return int((m := re.fullmatch("([1-9][0-9]{0,17}):([0-9a-f]{64})", text))[1]), m[2]
options = argparse.ArgumentParser(description=__doc__)
options.add_argument("export", type=argparse.FileType("rb"))
options.add_argument("--key", required=True, type=public_key, help="base64url; may begin with -")
options.add_argument("--anchor", type=record, help="N:HASH of a record known from elsewhere")
arguments = "\0".join(sys.argv[1:]).replace("--key\0", "--key=")  # or `-` would begin an option
verify(**vars(options.parse_args(arguments.split("\0"))))
