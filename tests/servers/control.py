"""Orders to servers and proxies by lines of text, for tests that are not written in Python.

A line is `NAME COMMAND [ARGUMENT…]`, the answer `ok [VALUE]`, `failed WHY` or `skipped WHY`, with
line feeds written as \\n. Names are those of tests/servers/with; control.h is the side in C.
"""
import os
import socket
import threading

import embedder
import proxy
from harness import Unavailable

# Command: method. What follows `sql` is one statement, as it stands.
SERVER = {name.replace('_', '-'): name for name in (
    'start', 'stop', 'restart', 'kill', 'crash', 'kill_backend', 'pause', 'resume', 'reload',
    'fill_disk', 'free_disk', 'promote', 'database', 'version', 'position', 'running', 'url')}


def on_server(server, words, rest):
    if words[0] == 'sql':
        return server.sql(rest.partition(' ')[2])
    if words[0] not in SERVER:
        raise ValueError('there are the commands ' + ', '.join(sorted([*SERVER, 'sql'])))
    if words[0] == 'database':  # the address, since a name alone connects nobody
        return server.url(database=server.database())
    value = getattr(server, SERVER[words[0]])(*[int(w) if w.isdigit() else w for w in words[1:]])
    return '' if value is None or value is server else str(value)


class Control:
    def __init__(self, path, things):
        self.things = things
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o600)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, client.makefile('rw') as lines:
            for line in lines:
                try:
                    lines.write(self.answer(line.strip()).replace('\n', '\\n') + '\n')
                    lines.flush()
                except OSError:
                    return

    def answer(self, line):
        name, _, rest = line.partition(' ')
        try:
            thing = self.things.get(name)
            if thing is None:
                raise ValueError("there is no '%s' here; there are %s"
                                 % (name, ', '.join(sorted(self.things))))
            words = rest.split()
            if not words:
                raise ValueError('NAME COMMAND [ARGUMENT…]')
            if isinstance(thing, embedder.Embedder):
                value = thing.command(words)
            else:
                value = proxy.command(thing, words) if isinstance(thing, proxy.Proxy) \
                    else on_server(thing, words, rest)
            return ('ok ' + value).rstrip()
        except Unavailable as reason:
            return 'skipped %s (%s)' % (reason.name, reason.reason)
        except Exception as error:  # the test is to see it, whatever it is
            return 'failed %s' % error

    def close(self):
        self.listener.close()
