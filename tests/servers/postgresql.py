"""PostgreSQL servers for tests: one, or a primary with streaming standbys; real, on loopback.

They keep what they acknowledge (fsync is on), ask for passwords (scram-sha-256), and have a
superuser `postgres`, an ordinary role `app` and its database `app`. The first server of a release
in a build folder is made by initdb, the others are copies of it.
"""
import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import urllib.parse

from certificates import Certificates
from harness import Failed, Unavailable, build_folder, kept, wait_for
from releases import RELEASES, client

SETTINGS = {
    'listen_addresses': '127.0.0.1',
    'unix_socket_directories': '',
    'dynamic_shared_memory_type': 'mmap',  # in the data folder: it goes with it
    'shared_buffers': '32MB',
    'max_wal_size': '256MB',
    'log_line_prefix': '%m [%p] %q%u@%d ',
    'timezone': 'UTC',
    'log_timezone': 'UTC',
}
ACCESS = '{kind} all all 127.0.0.1/32 scram-sha-256\n' \
         '{kind} replication all 127.0.0.1/32 scram-sha-256\n'


def quoted(text):
    return "'%s'" % str(text).replace("'", "''")


def identifier(text):
    return '"%s"' % text.replace('"', '""')


class Account:
    """Who asks, where: what a URL says."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.url, self.database = url, parts.path.lstrip('/') or 'postgres'
        self.user, self.password = parts.username or 'postgres', parts.password
        self.parts = parts

    def at(self, database=None, host=None, port=None, **parameters):
        """The same with another database or address, and more parameters."""
        parts, network = self.parts, self.parts.netloc
        if host is not None or port is not None:
            who = network.rpartition('@')[0]
            network = '%s@%s:%d' % (who, host or parts.hostname, port or parts.port or 5432)
        path = parts.path if database is None else '/' + urllib.parse.quote(database, '')
        query = '&'.join(filter(None, [parts.query, urllib.parse.urlencode(parameters)]))
        return urllib.parse.urlunsplit((parts.scheme, network, path, query, ''))


class Given:
    """A server that somebody else runs, named by an environment variable. It answers; it is not
    killed, stopped or filled: tests that need that are skipped by name."""

    tls = False  # what is not known is not relied on
    ca = None

    def __init__(self, name, url, admin_url=None):
        self.name = name
        self.app, self.admin = Account(url), Account(admin_url or url)
        self.made = []

    def url(self, admin=False, **where):
        return (self.admin if admin else self.app).at(**where)

    def sql(self, text, database=None, admin=True, seconds=60):
        """What psql -At prints. A statement that fails is a Failed with the server's words."""
        account = self.admin if admin else self.app
        url = urllib.parse.urlsplit(account.at(database=database))
        bare = url._replace(netloc=re.sub(r':[^:@]*@', '@', url.netloc))
        done = subprocess.run(
            [client('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', bare.geturl(), '-c', text],
            capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
            env=dict(os.environ, PGPASSWORD=urllib.parse.unquote(account.password or ''),
                     PGCONNECT_TIMEOUT='10'))
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        return done.stdout.rstrip('\n')

    def hosts(self, *others, **parameters):
        """The address of this server and others in one: libpq tries them in order."""
        ports = [self.app.parts] + [one.app.parts for one in others]
        network = self.app.parts.netloc.rpartition('@')[0] + '@' + ','.join(
            '%s:%d' % (one.hostname, one.port or 5432) for one in ports)
        return self.app.parts._replace(netloc=network,
                                       query=urllib.parse.urlencode(parameters)).geturl()

    def database(self):
        """A new empty database of the ordinary role, dropped at the end; returns its name."""
        name = 'poly_test_' + secrets.token_hex(6)
        self.sql('CREATE DATABASE %s OWNER %s' % (name, identifier(self.app.user)))
        self.made.append(name)
        return name

    def drop_databases(self):
        for name in self.made:
            self.sql('DROP DATABASE IF EXISTS %s WITH (FORCE)' % name)
        self.made = []

    def version(self):
        """As a number: 150018."""
        return int(self.sql('SHOW server_version_num'))

    def __getattr__(self, name):
        if name.startswith('_') or name not in ('port', 'pid', 'data', 'log_path') \
                and not hasattr(Postgresql, name):
            raise AttributeError(name)
        raise Unavailable(self.name, "'%s' needs a server of our own, not one that is given" % name)


class Postgresql(Given):
    """A server of our own. Its processes end with the harness."""

    def __init__(self, harness, release, name, options):
        self.harness, self.release, self.name, self.options = harness, release, name, options
        self.folder = harness.place(name)
        self.data = os.path.join(self.folder, 'data')
        self.log_path = os.path.join(harness.folder, os.path.basename(self.folder) + '.log')
        self.port, self.pid, self.made, self.password = harness.port(), None, [], None
        self.standbys = []
        self._disks()

    # Making one

    def _disks(self):
        """Small file systems for the data, or for the write-ahead log alone."""
        os.mkdir(self.data, 0o700)
        self.harness.give(self.data)
        if 'disk' in self.options:
            self.harness.tmpfs(self.name, self.data, size_of(self.options['disk']))
        if 'wal_disk' in self.options:
            wal = os.path.join(self.folder, 'wal')
            os.mkdir(wal, 0o700)
            self.harness.give(wal)
            self.harness.tmpfs(self.name, wal, size_of(self.options['wal_disk']))
        root = self.release.root
        if root is not None:
            self.harness.tmpfs(self.name, root + '/srv', 1 << 20)
            for path in ('/dev', '/proc', self.folder):
                self.harness.order('bind', source=path, target=root + self.inside(path))

    def inside(self, path):
        """The path as the server's programs see it."""
        if self.release.root is None or not path.startswith(self.harness.folder):
            return path
        return '/srv' + path[len(self.harness.folder):]

    def run(self, program, *arguments, **options):
        out = os.path.join(self.harness.folder, 'run-%s.log' % secrets.token_hex(4))
        try:
            self.harness.run([self.release.program(program), *arguments], out,
                             root=self.release.root, **options)
        finally:
            os.unlink(out)

    def _from_template(self):
        template = make_template(self)
        target = self.harness.see(self.data)
        subprocess.run(['cp', '-a', os.path.join(template, 'data', '.'), target], check=True)
        self.set_password(template)
        self._move_wal()

    def set_password(self, template):
        with open(os.path.join(template, 'password')) as file:
            self.password = file.read()
        self._accounts()

    def _accounts(self):
        where = '%s@127.0.0.1:%d/app' % (':' + self.password, self.port)
        self.app = Account('postgresql://app' + where)
        self.admin = Account('postgresql://postgres' + where)

    def _move_wal(self):
        """Puts the log on its own disk, where there is one."""
        if 'wal_disk' not in self.options:
            return
        data, wal = self.harness.see(self.data), self.harness.see(os.path.join(self.folder, 'wal'))
        subprocess.run(['cp', '-a', os.path.join(data, 'pg_wal', '.'), wal], check=True)
        shutil.rmtree(os.path.join(data, 'pg_wal'))
        os.symlink('../wal', os.path.join(data, 'pg_wal'))
        self.harness.give(wal)

    def write(self, name, text, mode='w'):
        """A file of the data folder."""
        path = os.path.join(self.harness.see(self.data), name)
        with open(path, mode) as file:
            file.write(text)
        os.chmod(path, 0o600)
        self.harness.give(path)

    def configure(self, settings):
        lines = ['%s = %s\n' % (name, quoted(value)) for name, value in settings.items()]
        self.write('postgresql.conf', ''.join(lines), 'a')

    def has_tls(self):
        out = os.path.join(self.harness.folder, 'ssl-%s' % secrets.token_hex(4))
        self.harness.run([self.release.program('postgres'), '-C', 'ssl_library', '-D',
                          self.inside(self.data)], out, root=self.release.root)
        with open(out) as file:
            return 'OpenSSL' in file.read()

    def use_certificate(self, pair):
        """(certificate, key): shown from the next start or reload on."""
        for path, name in zip(pair, ('server.crt', 'server.key')):
            with open(path) as file:
                self.write(name, file.read())

    def set_up(self):
        """The configuration of a new data folder."""
        self.configure(dict(SETTINGS, **settings_of(self.options)))
        self.tls = self.has_tls()
        if self.tls:
            certificates = certificates_of(self.harness)
            self.ca = certificates.ca
            self.use_certificate(certificates.server)
            self.configure({'ssl': 'on'})
        elif 'tls' in self.options:
            raise Unavailable(self.name, 'this server was built without TLS')
        self.write('pg_hba.conf',
                   ACCESS.format(kind='hostssl' if 'tls' in self.options else 'host'))

    # Running it

    def start(self, seconds=60):
        """Until it takes connections, on the same port each time."""
        if self.running():
            raise Failed("'%s' runs already" % self.name)
        self.pid = self.harness.spawn(
            [self.release.program('postgres'), '-D', self.inside(self.data), '-p', str(self.port)],
            self.log_path, root=self.release.root)
        wait_for(self._ready, seconds, lambda: 'no start of %s:\n%s' % (self.name, self.log()))
        return self

    def _ready(self):
        code = self.harness.ended(self.pid)
        if code is not None:
            self.pid = None
            raise Failed('%s ended with %d:\n%s' % (self.name, code, self.log()))
        lines = self.harness.text(os.path.join(self.data, 'postmaster.pid')).split('\n')
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == 'ready'

    def running(self):
        return self.pid is not None and self.harness.ended(self.pid) is None

    def _gone(self, pids, seconds=30):
        wait_for(lambda: not self.harness.alive(pids), seconds,
                 lambda: 'processes of %s do not end: %r' % (self.name, self.harness.alive(pids)))
        self.pid = None

    def stop(self, mode='fast'):
        """smart waits for sessions to end, fast ends them, immediate leaves recovery to the next
        start."""
        number = {'smart': signal.SIGTERM, 'fast': signal.SIGINT, 'immediate': signal.SIGQUIT}[mode]
        if self.running():
            pids = self.processes()
            self.harness.signal(self.pid, number)
            self._gone(pids, 60)

    def restart(self, mode='fast'):
        self.stop(mode)
        return self.start()

    def processes(self):
        """The postmaster and all that it started, at this moment."""
        if not self.running():
            raise Failed('%s does not run' % self.name)
        return self.harness.order('tree', pid=self.pid)

    def _frozen(self):
        """The same, with a postmaster that starts no more of them."""
        self.harness.signal(self.processes()[0], signal.SIGSTOP)
        return self.processes()

    def kill(self):
        """kill -9 of the postmaster; its children see that and end. Returns when they have."""
        pids = self._frozen()
        self.harness.signal(pids[0], signal.SIGKILL)
        self._gone(pids)

    def crash(self):
        """kill -9 of all its processes, as when the machine goes."""
        pids = self._frozen()
        self._signal_all(pids, signal.SIGKILL)
        self._gone(pids)

    def _signal_all(self, pids, number):
        """Some may have ended meanwhile."""
        for pid in pids:
            with contextlib.suppress(Failed):
                self.harness.signal(pid, number)

    def kill_backend(self, pid):
        """kill -9 of one process; PostgreSQL then restarts all the others. A pid that is not of
        this server is refused."""
        if pid not in self.processes():
            raise Failed('%d is no process of %s' % (pid, self.name))
        self.harness.signal(pid, signal.SIGKILL)

    def pause(self):
        """SIGSTOP to all: connections stay open, and nobody answers."""
        self._signal_all(self._frozen()[1:], signal.SIGSTOP)

    def resume(self):
        self._signal_all(reversed(self.processes()), signal.SIGCONT)

    def reload(self):
        self.sql('SELECT pg_reload_conf()')

    def set(self, **settings):
        """Changes settings of the running server that need no restart."""
        for name, value in settings.items():
            self.sql('ALTER SYSTEM SET %s = %s' % (name, quoted(value)))
        self.reload()

    def log(self):
        """What it said, from its first start on."""
        return self.harness.text(self.log_path)

    # Disks

    def _ballast(self, what):
        option, folder = {'data': ('disk', self.data),
                          'wal': ('wal_disk', os.path.join(self.folder, 'wal'))}[what]
        if option not in self.options:
            raise Failed("'%s' was started without the option %s=SIZE" % (self.name, option))
        return os.path.join(self.harness.see(folder), 'ballast')

    def fill_disk(self, what='data'):
        """Takes all space that is left on the small disk; what: data, wal."""
        with open(self._ballast(what), 'ab', buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(b'\0' * size) == size:
                        pass
                except OSError:
                    continue

    def free_disk(self, what='data'):
        try:
            os.unlink(self._ballast(what))
        except FileNotFoundError:
            pass

    # Standbys

    def standby(self, sync=False, via=None, settings=None):
        """A new standby that streams from this server, through a slot of its own. sync: commits
        wait for it. via: the address (host, port) of a proxy in front of this server."""
        one = Standby(self.harness, self.release, self.name + '-standby',
                      dict(self.options, **settings or {}))
        one.follow(self, via or ('127.0.0.1', self.port))
        self.standbys.append(one)
        if sync:
            self.set(synchronous_standby_names='*')
            wait_for(lambda: self.sql("SELECT count(*) FROM pg_stat_replication"
                                      " WHERE sync_state = 'sync'") != '0', 30,
                     'the standby does not become a synchronous one')
        return one

    def position(self):
        """Where its log ends, or, of a standby, how far it has replayed; as a number."""
        return int(self.sql("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
                            " ELSE pg_current_wal_lsn() END - '0/0'"))


class Standby(Postgresql):
    def follow(self, primary, address):
        """Copies the primary while it runs, and streams from it."""
        self.password = primary.password
        self._accounts()
        self.slot = 'standby_%d' % self.port
        self.tls, self.ca = primary.tls, primary.ca
        where = "host=%s port=%d user=postgres password=%s application_name=%s" % (
            address[0], address[1], self.password, self.slot)
        self.run('pg_basebackup', '-D', self.inside(self.data), '-d', where, '-R', '-X', 'stream',
                 '-C', '-S', self.slot, '-c', 'fast', '--no-sync')
        self._move_wal()
        self.start()
        self.wait_streaming(primary)

    def wait_streaming(self, primary, seconds=60):
        wait_for(lambda: primary.sql(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            " AND application_name = '%s'" % self.slot) == '1', seconds,
            lambda: 'the standby does not stream:\n' + self.log())

    def wait_replayed(self, position, seconds=60):
        wait_for(lambda: self.position() >= position, seconds,
                 lambda: 'the standby does not get there:\n' + self.log())

    def promote(self):
        """Makes it a primary; returns when it takes writes."""
        self.run('pg_ctl', 'promote', '-D', self.inside(self.data), '-w', '-t', '60', '-s')


def size_of(text):
    """Bytes: 64m is 64 MiB."""
    match = re.fullmatch(r'(\d+)([kmg]?)', str(text).lower())
    if not match:
        raise Failed("'%s' is no size; 64m would be one" % text)
    return int(match.group(1)) << {'': 0, 'k': 10, 'm': 20, 'g': 30}[match.group(2)]


OPTIONS = {'disk', 'wal_disk', 'tls', 'standby', 'sync', 'proxy'}


def settings_of(options):
    """What among the options is a setting of the server."""
    return {name: value for name, value in options.items() if name not in OPTIONS}


def certificates_of(harness):
    if not hasattr(harness, 'certificates'):
        harness.certificates = Certificates(os.path.join(harness.folder, 'tls'))
    return harness.certificates


def make_template(server):
    """The folder of a template for this release, made by initdb when there is none yet."""
    release = server.release
    folder = os.path.join(build_folder(), release.name)
    with kept.lock(folder + '.lock'):
        if release_of(folder) == identity(release):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        work = Template(server.harness, release, release.name + '-template', {})
        work.init()
        os.mkdir(folder, 0o700)
        for name in ('data', 'password'):
            subprocess.run(['cp', '-a', os.path.join(work.folder, name), folder], check=True)
        with open(os.path.join(folder, 'release'), 'w') as file:
            file.write(identity(release))
        shutil.rmtree(work.folder, ignore_errors=True)
    return folder


def identity(release):
    """Changes when the programs do, by an upgrade for instance."""
    about = os.stat(release.outside(release.program('postgres')))
    return '%s %s %d %d' % (release.outside(release.bin), about.st_size, about.st_mtime_ns, VERSION)


VERSION = 1  # of what Template makes


def release_of(folder):
    try:
        with open(os.path.join(folder, 'release')) as file:
            return file.read()
    except FileNotFoundError:
        return None


class Template(Postgresql):
    def init(self):
        os.rmdir(self.data)
        password = secrets.token_hex(12)
        path = os.path.join(self.folder, 'password')
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'w') as file:
            file.write(password)
        self.harness.give(path)
        self.run('initdb', '-D', self.inside(self.data), '-U', 'postgres', '-A', 'scram-sha-256',
                 '--pwfile', self.inside(path), '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8')
        self.password = password
        self._accounts()
        with open(os.path.join(self.harness.see(self.data), 'postgresql.conf')) as file:
            original = file.read()
        self.configure(SETTINGS)
        self.write('pg_hba.conf', ACCESS.format(kind='host'))
        self.start()
        self.sql("CREATE ROLE app LOGIN PASSWORD %s" % quoted(password), database='postgres')
        self.sql('CREATE DATABASE app OWNER app', database='postgres')
        self.stop()
        self.write('postgresql.conf', original)


def given(name):
    """The server that the environment names, or None. One that is given takes the place of
    PostgreSQL 15; which version it is, is its owner's choice."""
    url = os.environ.get('POLY_TEST_POSTGRESQL_URL')
    if not url:
        return None
    if name != 'postgresql15':
        raise Unavailable(name, 'POLY_TEST_POSTGRESQL_URL names the server to test against')
    return Given(name, url, os.environ.get('POLY_TEST_POSTGRESQL_ADMIN_URL'))


def start(harness, name='postgresql15', own=False, **options):
    """A server that takes connections. Options: disk, wal_disk (a size), tls (nothing without it),
    and any setting of postgresql.conf. own: one that may be hurt and written to anywhere."""
    if name not in RELEASES:
        raise Failed("there is no server '%s'; there are %s" % (name, ', '.join(RELEASES)))
    one = given(name)
    if one is not None:
        if own or options:
            raise Unavailable(name, '%sneeds a server of our own, not one that is given'
                              % (', '.join(options) and "'%s' " % ', '.join(options)))
        harness.at_close(one.drop_databases)
        return one
    one = Postgresql(harness, RELEASES[name](harness), name, options)
    one._from_template()
    one.set_up()
    return one.start()
