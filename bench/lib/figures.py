"""What is measured, against whom, and the goal."""
import json
import os
import re
import statistics
import subprocess
import time

from lib import harness, vector_stores
from lib.daemon import Daemon, free_port
from lib.harness import alternate, call, program
from lib.postgres import Postgres
from lib.vectors import vector, vector_large, vector_pgvector, vector_servers, vector_wide

EVENT = {'events': [{'type': 'Measured', 'data': {'number': 1, 'text': 'x' * 176}}]}
QUIET = 'limits: {rate_per_tenant: 0}\n'
STREAM = QUIET + 'domains:\n  bench: {stream: bench}\n'
ITEMS = QUIET + 'migrations: %s\ndomains:\n  items: {table: items, tenant: none}\n'
ITEM = {'name': 'Item number 1', 'price': 0.25, 'stock': 1,
        'note': 'kept beside the window, away from the light of the sun'}


def commit(found, folder, rounds, seconds):
    """durable commits of a 200-byte event: in process, over HTTP, SQLite, PostgreSQL 15"""
    indexes = 'CREATE INDEX log_type ON log(type); CREATE INDEX log_domain ON log(domain);'
    goals = {1: (1.3, 1, 1), 16: (2, 5, 1.5), 64: (4, 14, 2.5)}
    with Postgres(folder, indexes) as postgres, Daemon(folder, STREAM) as daemon:
        request = os.path.join(folder, 'append.http')
        with open(request, 'w') as file:
            file.write(daemon.request_text('POST', '/v1/streams/bench-####', json.dumps(EVENT)))
        for clients, (goal_postgres, goal_sqlite, goal_http) in goals.items():
            place = os.path.join(folder, 'commit-%d' % clients)

            def in_process(side):
                return lambda _: call([program('commit'), side, clients, seconds, place])[0]

            ours, sqlite, other, http = alternate(
                rounds, in_process('polystore'), in_process('sqlite'),
                lambda turn: postgres.commits(clients, seconds, turn),
                lambda _: call([program('http'), clients, seconds, daemon.port, request])[0])
            found.add('commit.%d.postgresql' % clients, ours, other, least=goal_postgres)
            found.add('commit.%d.sqlite' % clients, ours, sqlite, least=goal_sqlite)
            found.add('commit.%d.http.postgresql' % clients, http, other, least=goal_http)


def log(found, folder, rounds, seconds):
    """bulk append in batches of 1,024, and reading the log again, against bare SQLite"""
    events = 102400 * seconds
    turns = [0, 0]

    def append(side, index):
        def one(_):
            turns[index] += 1
            place = os.path.join(folder, 'log-%d' % turns[index])
            return call([program('log'), 'append', side, events, place])[0]
        return one

    ours, sqlite = alternate(rounds, append('polystore', 0), append('sqlite', 1))
    found.add('log.append.1024', ours, sqlite, least=0.8)
    place = os.path.join(folder, 'log-1')
    ours, sqlite = alternate(
        rounds, *[lambda _, side=side: call([program('log'), 'read', side, events, place])[0]
                  for side in ('polystore', 'sqlite')])
    found.add('log.read', ours, least=1e6)
    found.add('log.read.sqlite', ours, sqlite, least=0.5)


def record(found, folder, rounds, seconds):
    """a record read by key in process, nanoseconds, against a prepared SELECT"""
    place = os.path.join(folder, 'record')
    ours, sqlite = alternate(
        rounds, *[lambda _, side=side: call([program('record'), side, 10000, seconds, place],
                                            cpu=0)[0] for side in ('polystore', 'sqlite')])
    found.add('record.get.ns', ours, sqlite, most=1.5)


def peer_headers(headers):
    """What the bare peer must be told to send; the rest libmicrohttpd sends by itself."""
    own = ('date', 'content-length', 'connection')
    return ['%s: %s' % (name, value) for name, value in headers if name.lower() not in own]


def http(found, folder, rounds, seconds):
    """a record read by key over HTTP, against a bare libmicrohttpd handler with the same bytes"""
    migrations = os.path.join(folder, 'migrations')
    os.makedirs(migrations)
    with open(os.path.join(migrations, '0001_items.sql'), 'w') as file:
        file.write('CREATE TABLE items(id TEXT PRIMARY KEY, name TEXT, price REAL,'
                   ' stock INTEGER, note TEXT);')
    # Server and client on one cpu: a wake-up across cpus costs more than the request itself.
    for name, clients, server, client, least in (
            ('http.get.1', 1, 0, 0, 1 / 1.2), ('http.get.1.apart', 1, 0, 1, None),
            ('http.get.16', 16, 0, 1, None), ('http.get.64', 64, 0, 1, None)):
        with Daemon(os.path.join(folder, name), ITEMS % migrations, cpu=server) as daemon:
            http_one(found, daemon, (name, clients, server, client, least), rounds, seconds)


def http_one(found, daemon, what, rounds, seconds):
    name, clients, server, client, least = what
    path = '/v1/records/items/item-1'
    for method, where, body in (('POST', '/v1/migrations', None),
                                ('PUT', path, json.dumps(ITEM))):
        status, _, answer = daemon.ask(method, where, body)
        if status >= 300:
            raise SystemExit('%s %s: %s' % (method, where, answer.decode()))
    _, headers, body = daemon.ask('GET', path)
    request, same = daemon.folder + '/get.http', daemon.folder + '/body'
    with open(request, 'w') as file:
        file.write(daemon.request_text('GET', path))
    with open(same, 'wb') as file:
        file.write(body)
    port = free_port()
    peer = subprocess.Popen(['taskset', '-c', str(server), program('peer-http'), str(port), same]
                            + peer_headers(headers), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    peer.stdout.readline()
    try:
        ours, bare = alternate(rounds, *[
            lambda _, at=at: call([program('http'), clients, seconds, at, request], cpu=client)[0]
            for at in (daemon.port, port)])
    finally:
        peer.stdin.close()
        peer.wait()
    found.add(name, ours, bare, least=least)


def projection(found, folder, rounds, seconds):
    """how long after its commit a write is found by search that follows, at 5,000 writes a second"""
    rates, middles, tails = [], [], []
    for turn in range(rounds):
        place = os.path.join(folder, 'projection-%d' % turn)
        rate, middle, tail = call([program('projection'), 5000, seconds * 2, place])
        rates.append(rate)
        middles.append(middle / 1000)
        tails.append(tail / 1000)
    at = rounds // 2
    found.add('projection.writes', sorted(rates)[at], least=4900)
    found.add('projection.lag.p50.ms', sorted(middles)[at])
    found.add('projection.lag.p99.ms', sorted(tails)[at], most=20)


def load_packages(daemon):
    """This machine's package index, through the command line."""
    tool = os.path.join(harness.BUILD, 'src/cli/polystore')
    index = subprocess.Popen(['apt-cache', 'dumpavail'], stdout=subprocess.PIPE)
    ask = [tool, '--quiet', '--config', daemon.config]
    subprocess.run(ask + ['migrate', 'up'], check=True, stdout=subprocess.DEVNULL)
    begin = time.monotonic()
    subprocess.run(ask + ['import', 'packages', '--format', 'debian', '-'], stdin=index.stdout,
                   check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def rest(found, folder, rounds, seconds):
    """the daemon at rest: memory, wake-ups; loading the package index; start with a 1 GiB log"""
    with open(os.path.join(harness.ROOT, 'examples/packages/polystore.yaml')) as file:
        config = re.sub(r'(?m)^(data|listen):.*\n', '', file.read())
    here = os.path.join(harness.ROOT, 'examples', 'packages')
    config = re.sub(r'(?m)^migrations: *(\S+)', 'migrations: %s/\\1' % here, config)
    with Daemon(folder, config) as daemon:
        found.add('rest.load.s', load_packages(daemon), most=10)
        time.sleep(seconds)
        before = daemon.wake_ups()
        time.sleep(10)
        found.add('rest.wakeups.per.s', (daemon.wake_ups() - before) / 10, most=10)
        found.add('rest.resident.mib', daemon.resident_mib(), most=20)
    place = os.path.join(folder, 'big', 'daemon')
    os.makedirs(place)
    harness.progress('filling a log of 1 GiB')
    while database_bytes(place) < 2**30:
        call([program('log'), 'append', 'polystore', 512 * 1024, place])
    times = []
    for _ in range(rounds):
        with Daemon(os.path.join(folder, 'big'), STREAM) as daemon:
            times.append(daemon.start_seconds)
    found.add('rest.start.s', sorted(times)[rounds // 2], most=3)


def postgresql(found, folder, rounds, seconds):
    """on PostgreSQL 15: our road to it, a write by hand, what follows its log, two daemons"""
    with Postgres(folder, '') as server:
        postgresql_calls(found, server, rounds, seconds)
        postgresql_writes(found, server, folder, rounds, seconds)
        postgresql_following(found, server, folder, rounds, seconds)
        postgresql_daemons(found, server, folder, rounds, seconds)


def postgresql_calls(found, server, rounds, seconds):
    def measure(*words):
        return lambda _: call([program('postgresql'), *words, seconds, server.url])

    ours, libpq, many = alternate_pairs(
        rounds, measure('call', 'ours', 1), measure('call', 'libpq', 1),
        measure('call', 'ours', 32))
    found.add('postgresql.call.1', ours[0], libpq[0], least=0.98)
    found.add('postgresql.call.1.cpu.us', ours[1], libpq[1], most=1)
    found.add('postgresql.call.32', many[0], ours[0], least=3)
    ours, libpq = alternate_pairs(rounds, measure('read', 'ours'), measure('read', 'libpq'))
    found.add('postgresql.read', ours[0], least=200000)
    found.add('postgresql.read.libpq', ours[0], libpq[0], least=0.98)


def postgresql_writes(found, server, folder, rounds, seconds):
    """Rates; the goal of 1.05 is on times. By hand: one statement at a time, or all in one
    round trip, which few programs do and is the fastest that can be had."""
    for clients in (1, 16):
        ours, hand, pipeline = alternate(rounds, *[
            lambda _, side=side: call([program('postgresql-write'), side, clients, seconds,
                                       os.path.join(folder, 'write'), server.url])[0]
            for side in ('ours', 'hand', 'pipeline')])
        found.add('postgresql.write.%d' % clients, ours, hand, least=1 / 1.05)
        found.add('postgresql.write.%d.pipeline' % clients, ours, pipeline, least=1 / 1.05)


def postgresql_following(found, server, folder, rounds, seconds):
    def measure(what, number, *words):
        return lambda turn: call([program('postgresql-follow'), what, number, *words,
                                  os.path.join(folder, '%s-%d' % (what, turn)), server.url])

    (_, _, lag), (subscription, index) = alternate_pairs(
        rounds, measure('lag', 2000, seconds), measure('catch-up', 300000))
    found.add('postgresql.lag.p99.us', lag, most=50000)
    found.add('postgresql.catch-up', subscription, least=200000)
    found.add('postgresql.catch-up.search', index, least=200000)


def postgresql_daemons(found, server, folder, rounds, seconds):
    """Each client reads what it wrote through the other daemon."""
    migrations = os.path.join(folder, 'migrations')
    os.makedirs(migrations)
    with open(os.path.join(migrations, '0001_items.sql'), 'w') as file:
        file.write('DROP TABLE IF EXISTS items;'
                   'CREATE TABLE items(id TEXT PRIMARY KEY, stock BIGINT);')
    config = 'stores: {relational: {driver: postgresql, url: "%s"}}\n' % server.url + \
        ITEMS % migrations
    with Daemon(os.path.join(folder, 'one'), config) as one:
        status, _, answer = one.ask('POST', '/v1/migrations')
        if status >= 300:
            raise SystemExit('migrations: ' + answer.decode())
        with Daemon(os.path.join(folder, 'two'), config) as two:
            wrong = []

            def measure(*daemons):
                rate, mistakes = call([program('daemons'), 32, seconds, one.key()] +
                                      [daemon.port for daemon in daemons])
                wrong.append(mistakes)
                return rate

            alone, both = alternate(rounds, lambda _: measure(one), lambda _: measure(one, two))
    found.add('postgresql.daemons', both, alone, least=1)
    found.add('postgresql.daemons.wrong', sum(wrong), most=0)


def alternate_pairs(rounds, *sides):
    """As alternate(), for sides that give two numbers."""
    pairs = [[] for _ in sides]
    for turn in range(rounds):
        for step in range(len(sides)):
            side = (turn + step) % len(sides)
            pairs[side].append(sides[side](turn))
    return [tuple(statistics.median(column) for column in zip(*side)) for side in pairs]


def database_bytes(place):
    data = os.path.join(place, 'data')
    if not os.path.isdir(data):
        return 0
    return sum(os.path.getsize(os.path.join(data, name)) for name in os.listdir(data)
               if name.endswith('.db'))


ALL = {'commit': commit, 'log': log, 'record': record, 'http': http, 'projection': projection,
       'rest': rest, 'postgresql': postgresql, 'vector': vector, 'vector-large': vector_large,
       'vector-servers': vector_servers, 'vector-wide': vector_wide,
       'vector-write': vector_stores.write, 'vector-million': vector_stores.million,
       'vector-pgvector': vector_pgvector}
