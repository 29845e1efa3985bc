"""PostgreSQL 15 as a peer: its own cluster in a folder of the run, reached by a Unix socket (its
fastest way), every commit on disk. The settings are those that make it faster without making it
less durable."""
import os
import re
import subprocess

BIN = '/usr/lib/postgresql/15/bin/'
SETTINGS = """
listen_addresses = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
wal_buffers = 16MB
max_wal_size = 8GB
checkpoint_timeout = 30min
wal_level = minimal
max_wal_senders = 0
max_connections = 200
"""
# The columns and indexes of the log; the salt is given, not made.
SCHEMA = """
CREATE TABLE log(position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  txn bigint NOT NULL, tenant text NOT NULL, domain text NOT NULL, key text NOT NULL,
  version bigint, type text NOT NULL, time bigint NOT NULL, data text, meta text,
  salt bytea NOT NULL);
CREATE UNIQUE INDEX log_key ON log(domain, tenant, key, version);
"""
SCRIPT = """\\set n :n + 1
INSERT INTO log(txn, tenant, domain, key, version, type, time, data, meta, salt)
VALUES (:n, '', 'bench', :client_id, :n, 'Measured', :n, '%s', NULL,
'\\x00112233445566778899aabbccddeeff');
"""


class Postgres:
    def __init__(self, folder, indexes):
        self.folder = os.path.join(folder, 'postgres')
        self.data = os.path.join(self.folder, 'data')
        self.script = os.path.join(self.folder, 'append.sql')
        self.indexes = indexes

    def as_user(self, *command):
        """The server refuses root."""
        prefix = ['runuser', '-u', 'postgres', '--'] if os.getuid() == 0 else []
        done = subprocess.run(prefix + list(command), text=True, cwd='/', stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise SystemExit('%s: %s' % (command[0], done.stdout))
        return done.stdout

    def __enter__(self):
        os.makedirs(self.folder)
        with open(self.script, 'w') as file:
            file.write(SCRIPT % ('{"number": 1, "text": "' + 'x' * 176 + '"}')[:200])
        if os.getuid() == 0:
            subprocess.run(['chown', '-R', 'postgres', self.folder], check=True)
        self.as_user(BIN + 'initdb', '-D', self.data, '--auth=trust', '--no-sync', '-E', 'UTF8',
                     '--locale=C')
        with open(os.path.join(self.data, 'postgresql.conf'), 'a') as file:
            file.write(SETTINGS + "unix_socket_directories = '%s'\n" % self.folder)
        self.as_user(BIN + 'pg_ctl', '-D', self.data, '-w', '-l', self.folder + '/log', 'start')
        self.as_user(BIN + 'psql', '-q', '-h', self.folder, '-d', 'postgres', '-c',
                     SCHEMA + self.indexes)
        return self

    def __exit__(self, *_):
        self.as_user(BIN + 'pg_ctl', '-D', self.data, '-w', '-m', 'immediate', 'stop')

    @property
    def url(self):
        return 'postgresql://postgres@/postgres?host=' + self.folder

    def commits(self, clients, seconds, turn):
        """Commits a second with so many clients, one event each."""
        first = (turn + 1) * 10**9 + clients * 10**7
        text = self.as_user(BIN + 'pgbench', '-n', '-M', 'prepared', '-c', str(clients), '-j',
                            '1' if clients == 1 else '2', '-T', str(seconds), '-D',
                            'n=%d' % first, '-f', self.script, '-h', self.folder, 'postgres')
        return float(re.search(r'tps = ([\d.]+)', text).group(1))
