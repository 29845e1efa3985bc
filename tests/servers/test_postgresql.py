"""Each kind of server starts, answers, is hurt as it is told, and comes back."""
import os
import re
import signal
import subprocess

import pytest

import postgresql as pg
from harness import Failed, wait_for


@pytest.mark.parametrize('name,major', [('postgresql15', 15), ('postgresql17', 17),
                                        ('postgresql18', 18)])
def test_each_release_starts_and_answers(make_postgresql, name, major):
    server = make_postgresql(name)
    assert server.version() // 10000 == major
    assert server.sql('SHOW fsync') == 'on'
    assert server.sql('SELECT current_user', admin=False) == 'app'
    database = server.database()
    server.sql('CREATE TABLE t (a int); INSERT INTO t VALUES (42)', database, admin=False)
    server.restart()
    assert server.sql('SELECT a FROM t', database, admin=False) == '42'


def test_no_release_runs_as_root(postgresql):
    with open('/proc/%d/status' % postgresql.pid) as file:
        assert re.search(r'^Uid:\t(\d+)', file.read(), re.M).group(1) != '0'


def test_it_listens_on_loopback_only(postgresql):
    with open('/proc/net/tcp') as file:
        local = [line.split()[1] for line in file if ' 0A ' in line]
    assert '0100007F:%04X' % postgresql.port in local
    with open('/proc/net/tcp6') as file:
        assert ':%04X ' % postgresql.port not in file.read()


def test_a_wrong_password_is_refused(postgresql):
    right, postgresql.admin = postgresql.admin, pg.Account(
        postgresql.admin.url.replace(':' + postgresql.password, ':wrong'))
    try:
        with pytest.raises(Failed, match='password authentication failed'):
            postgresql.sql('SELECT 1')
    finally:
        postgresql.admin = right
    assert postgresql.sql("SELECT count(*) FROM pg_authid"
                          " WHERE rolpassword LIKE 'SCRAM-SHA-256$%'") == '2'


@pytest.mark.parametrize('how', ['kill', 'crash', 'stop'])
def test_what_was_acknowledged_is_there_after(make_postgresql, how):
    server = make_postgresql()
    server.sql('CREATE TABLE t AS SELECT 7 AS a')
    port = server.port
    getattr(server, how)()
    assert not server.running()
    with pytest.raises(Failed, match='refused'):
        server.sql('SELECT 1')
    server.start()
    assert (server.port, server.sql('SELECT a FROM t')) == (port, '7')


def test_a_killed_backend_ends_all_sessions(make_postgresql):
    server = make_postgresql()
    url = server.url(admin=True)
    sleeper = subprocess.Popen([pg.client('psql'), '-Xc', 'SELECT pg_sleep(600)', url],
                               stderr=subprocess.PIPE, text=True)
    find = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <>" \
           " pg_backend_pid()"
    pid = int(wait_for(lambda: server.sql(find), 20))
    server.kill_backend(pid)
    assert 'connection to server was lost' in sleeper.communicate(timeout=60)[1]
    assert server.running()

    def answers():
        try:
            return server.sql('SELECT 1')
        except Failed:
            return None
    wait_for(answers, 30, 'it does not come back')
    with pytest.raises(Failed, match='no process of'):
        server.kill_backend(os.getpid())


def test_a_paused_server_holds_its_clients(make_postgresql):
    server = make_postgresql()
    server.sql('SELECT 1')
    server.pause()
    states = {open('/proc/%d/stat' % pid).read().rpartition(')')[2].split()[0]
              for pid in server.processes()}
    assert states == {'T'}
    with pytest.raises(subprocess.TimeoutExpired):
        server.sql('SELECT 1', seconds=1)
    server.resume()
    assert server.sql('SELECT 2') == '2'


def test_a_start_that_fails_says_why(make_postgresql):
    with pytest.raises(Failed, match='no_such_setting'):
        make_postgresql(no_such_setting='1')


def port_of(url):
    """Whom a client of this address reaches."""
    return subprocess.run([pg.client('psql'), '-XAtc', 'SHOW port', url], capture_output=True,
                          text=True).stdout.strip()


class TestStandby:
    @pytest.mark.parametrize('name', ['postgresql15', 'postgresql17', 'postgresql18'])
    def test_it_streams_and_is_promoted(self, make_postgresql, name):
        primary = make_postgresql(name)
        standby = primary.standby(sync=True)
        primary.sql('CREATE TABLE t AS SELECT 1 AS a')
        standby.wait_replayed(primary.position())
        assert standby.sql('SELECT a FROM t') == '1'
        with pytest.raises(Failed, match='read-only'):
            standby.sql('INSERT INTO t VALUES (2)')
        both = primary.hosts(standby, target_session_attrs='read-write')
        assert port_of(both) == str(primary.port)
        primary.kill()
        standby.promote()
        assert port_of(both) == str(standby.port)
        standby.sql('SET synchronous_commit = local; INSERT INTO t VALUES (2)')
        assert standby.sql('SELECT count(*) FROM t') == '2'

    def test_it_lags_behind_a_proxy_and_catches_up(self, make_postgresql, make_proxy):
        primary = make_postgresql()
        proxy = make_proxy(primary.port)
        standby = primary.standby(via=('127.0.0.1', proxy.port))
        proxy.stall('to_client')
        primary.sql('CREATE TABLE t AS SELECT 1 AS a')
        behind = primary.position()
        assert standby.position() < behind
        proxy.passes()
        standby.wait_replayed(behind)
        assert standby.sql('SELECT a FROM t') == '1'


class TestTls:
    def connect(self, server, **parameters):
        url = server.at if isinstance(server, pg.Account) else server.admin.at
        return subprocess.run([pg.client('psql'), '-XAtc',
                               'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
                               url(**parameters)], capture_output=True, text=True)

    def test_verification_is_possible_and_bites(self, make_postgresql):
        server = make_postgresql(tls=True)
        ca = server.harness.certificates.ca
        full = {'sslmode': 'verify-full', 'sslrootcert': ca}
        assert self.connect(server, host='localhost', **full).stdout == 't\n'
        assert self.connect(server, **full).stdout == 't\n'
        assert 'certificate verify failed' in self.connect(
            server, sslmode='verify-full',
            sslrootcert=server.harness.certificates.other_ca).stderr
        assert 'no encryption' in self.connect(server, sslmode='disable').stderr

        server.use_certificate(server.harness.certificates.wrong_name)
        server.restart()
        assert 'does not match host name' in self.connect(server, **full).stderr
        assert self.connect(server, sslmode='verify-ca', sslrootcert=ca).stdout == 't\n'


class TestDisk:
    @pytest.mark.parametrize('name', ['postgresql15', 'postgresql17'])
    def test_full_data_disk_fails_writes_and_recovers(self, make_postgresql, name):
        server = make_postgresql(name, disk='128m')
        server.sql('CREATE TABLE t (a text)')
        server.fill_disk()
        with pytest.raises(Failed, match='No space left on device|closed the connection'):
            server.sql("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        server.free_disk()
        if not server.running():
            server.start()
        server.sql("INSERT INTO t VALUES ('after')")
        assert server.sql('SELECT count(*) FROM t') == '1'

    def test_full_log_disk_ends_the_server_which_recovers(self, make_postgresql):
        server = make_postgresql(disk='128m', wal_disk='96m')
        server.sql('CREATE TABLE t (a text); INSERT INTO t VALUES ($$before$$)')
        server.fill_disk('wal')
        with pytest.raises(Failed):
            server.sql("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 40000)")
        assert 'No space left on device' in server.log()
        server.free_disk('wal')
        server.stop('immediate')
        server.start()
        assert server.sql('SELECT a FROM t') == 'before'

    def test_a_disk_must_have_been_asked_for(self, postgresql):
        with pytest.raises(Failed, match='disk=SIZE'):
            postgresql.fill_disk()


class TestGiven:
    @pytest.fixture
    def given(self, postgresql, harness, monkeypatch):
        monkeypatch.setenv('POLY_TEST_POSTGRESQL_URL', postgresql.url())
        monkeypatch.setenv('POLY_TEST_POSTGRESQL_ADMIN_URL', postgresql.url(admin=True))
        return pg.start(harness)

    def test_it_is_used_and_its_databases_dropped(self, given, postgresql):
        assert given.url() == postgresql.url()
        name = given.database()
        given.sql('CREATE TABLE t (a int)', name, admin=False)
        given.drop_databases()
        assert name not in postgresql.sql('SELECT datname FROM pg_database')

    def test_what_would_hurt_it_is_a_skip(self, given, harness):
        for what in ('kill', 'stop', 'pause', 'standby', 'fill_disk', 'processes'):
            with pytest.raises(pg.Unavailable, match=what):
                getattr(given, what)()
        with pytest.raises(pg.Unavailable, match='names the server'):
            pg.start(harness, 'postgresql17')
        with pytest.raises(pg.Unavailable, match='needs a server of our own'):
            pg.start(harness, own=True)


def test_signals_go_to_our_processes_only(harness):
    with pytest.raises(Failed, match='none of ours'):
        harness.signal(os.getpid(), signal.SIGTERM)
