"""What the servers here have in common: a port of the system's choice, told on standard output."""

import socket

import uvicorn


def serve(app):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(settings).run(sockets=[listener])
