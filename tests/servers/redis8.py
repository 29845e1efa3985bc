"""A Redis server of release 8, which has vector sets: Debian 13's, in a chroot. It keeps everything
in memory, and is gone with the harness."""
import os
import secrets
import socket

from harness import Failed, Unavailable, kept, wait_for


class Redis:
    def __init__(self, harness):
        if harness.no_mounts:
            raise Unavailable('redis8', 'a chroot: ' + harness.no_mounts)
        root = kept.chroot('redis8', 'trixie', ['redis-server'])
        self.harness, self.password = harness, secrets.token_hex(12)
        self.port, self.log = harness.port(), os.path.join(harness.folder, 'redis8.log')
        for path in ('/dev', '/proc'):
            harness.order('bind', source=path, target=root + path)
        self.pid = harness.spawn(
            ['/usr/bin/redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--save', '',
             '--appendonly', 'no', '--requirepass', self.password, '--enable-debug-command', 'no'],
            self.log, root=root)
        wait_for(self._ready, 60, lambda: 'no start of redis8:\n' + harness.text(self.log))

    def _ready(self):
        if self.harness.ended(self.pid) is not None:
            raise Failed('redis8 ended:\n' + self.harness.text(self.log))
        try:
            with socket.create_connection(('127.0.0.1', self.port), 5) as probe:
                probe.sendall(b'AUTH %s\r\n' % self.password.encode())
                return probe.recv(16).startswith(b'+OK')
        except OSError:
            return False

    def environment(self):
        return {'POLY_TEST_REDIS_URL': 'redis://:%s@127.0.0.1:%d' % (self.password, self.port)}


def start(harness):
    """One of our own, or the one that the environment names."""
    return None if 'POLY_TEST_REDIS_URL' in os.environ else Redis(harness)
