"""Runs a server that listens on all addresses in a network of its own, with nothing but a loopback device, where nobody else reaches it.

    unshare --net python3 loopback.py IN=PORT ... OUT=PORT ... -- COMMAND

`in:PATH=PORT` connects whoever comes to the socket file PATH with that port in there, and `out:PATH=PORT` lets that port in there lead to the socket file.
"""

import ctypes
import fcntl
import signal
import socket
import struct
import subprocess
import sys
import threading

SIOCSIFFLAGS = 0x8914
UP_AND_RUNNING = 0x41
PR_SET_PDEATHSIG = 1


def start_loopback():
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))


def pump(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def relay(listener, connect):
    """Connects whoever comes to `listener` with what `connect` gives. Ends when the listener is closed."""
    while True:
        try:
            one, _ = listener.accept()
        except OSError:
            return
        try:
            other = connect()
        except OSError:
            one.close()
            continue
        for source, target in ((one, other), (other, one)):
            threading.Thread(target=pump, args=(source, target), daemon=True).start()


def listen_at_file(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def connect_to_file(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def start_relay(listener, connect):
    threading.Thread(target=relay, args=(listener, connect), daemon=True).start()


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main():
    separator = sys.argv.index("--")
    start_loopback()
    for argument in sys.argv[1:separator]:
        direction, _, rest = argument.partition(":")
        path, _, port = rest.rpartition("=")
        if direction == "in":
            start_relay(listen_at_file(path), lambda port=int(port): socket.create_connection(("127.0.0.1", port)))
        else:
            start_relay(socket.create_server(("127.0.0.1", int(port))), lambda path=path: connect_to_file(path))
    child = subprocess.Popen(sys.argv[separator + 1 :], preexec_fn=die_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    sys.exit(child.wait())


if __name__ == "__main__":
    main()
