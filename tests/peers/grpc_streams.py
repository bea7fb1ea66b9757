"""A gRPC server and a gRPC client whose stream of requests lasts until it is told to end.

    grpc_streams.py serve
    grpc_streams.py upload HOST:PORT AUTHORITY METHOD TOKEN

Messages are plain bytes, so no schema is generated. Both tell of themselves in lines on standard output, and
both end, or let their stream end, when a line or the end comes on standard input.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

BETWEEN = 0.02
A_WHILE = 2


def tell(*words):
    print(*words, flush=True)


def end_of_input():
    over = threading.Event()

    def wait():
        sys.stdin.readline()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    return over


class Notes(grpc.GenericRpcHandler):
    """Counts what a client writes, whatever the method is called."""

    def service(self, call):
        return grpc.stream_unary_rpc_method_handler(self.write)

    def write(self, messages, context):
        task = dict(context.invocation_metadata()).get("x-gatepass-task", "")
        count = 0
        try:
            for _ in messages:
                count += 1
                if count == 1:
                    tell("began", task)
        except Exception:  # grpcio raises its own kind for a stream that was reset
            tell("broke", task, count)
            raise
        # A stream that was reset may end here as one that was finished does, before grpcio hears of the reset.
        reset = threading.Event()
        if not context.add_callback(reset.set) or reset.wait(A_WHILE):
            tell("broke", task, count)
            return b""
        tell("whole", task, count)
        return str(count).encode()


def serve():
    over = end_of_input()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), handlers=[Notes()])
    tell("listens", server.add_insecure_port("127.0.0.1:0"))
    server.start()
    over.wait()
    server.stop(None).wait()


def upload(target, authority, method, token):
    over = end_of_input()
    sent = 0

    def messages():
        nonlocal sent
        while not over.is_set():
            sent += 1
            yield b"a note"
            time.sleep(BETWEEN)

    options = [("grpc.default_authority", authority), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(target, options=options) as channel:
        call = channel.stream_unary(method)
        metadata = [("authorization", f"Bearer {token}")]
        try:
            heard = call(messages(), metadata=metadata, timeout=120)
        except grpc.RpcError as error:
            tell("ended", error.code().name.lower())
            return
    tell("whole" if int(heard) == sent else "lost", sent)


if __name__ == "__main__":
    {"serve": serve, "upload": upload}[sys.argv[1]](*sys.argv[2:])
