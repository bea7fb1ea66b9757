"""What the servers here have in common: a port of the system's choice, told on standard output."""

import socket

import uvicorn


def serve(app):
    # Named as TCP, so that asyncio does not let small answers wait for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(settings).run(sockets=[listener])
