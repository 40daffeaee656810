"""proxy: a way to the daemon that breaks.

    with proxy.Proxy(daemon.port, lambda n: 1000 * n) as way:
        Sub(way.url, ...)

after(n) tells how many bytes the server may send on the n-th connection, from
0, before both sides are cut off; None: it is never cut.  way.hush(): what is
said on the connections there are now is swallowed, and nobody is told.
"""
import socket
import threading

import scene


class Proxy:
    """Passes bytes on, a thread for each direction of each connection."""

    def __init__(self, port, after=lambda number: None):
        self.target, self.after = port, after
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        self.count = 0
        self.told = 0  # times the server's side said something
        self.lock = threading.Lock()  # of what follows
        self.pairs, self.threads = [], []
        self.hushed = set()
        self._start(self._accept)

    def _start(self, function, *arguments):
        thread = threading.Thread(
            target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            left = self.after(self.count)
            with self.lock:
                self.count += 1
                self.pairs.append((client, server))
                self._start(self._pass, client, server, None, 0)
                self._start(self._pass, server, client, left, 1)

    def _pass(self, source, target, left, is_server):
        while left is None or left > 0:
            try:
                data = source.recv(65536 if left is None else left)
                if not data:
                    break
                self.told += is_server
                if source in self.hushed:
                    continue
                target.sendall(data)
            except OSError:
                break
            if left is not None:
                left -= len(data)
        for end in source, target:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """All connections there are now."""
        with self.lock:
            for pair in self.pairs:
                for end in pair:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

    def hush(self):
        with self.lock:
            self.hushed.update(end for pair in self.pairs for end in pair)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join(scene.DEADLINE_S * scene.SLOWNESS)
        for pair in self.pairs:
            for end in pair:
                end.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
