"""Every verb from a fresh folder, on the data directly and through a daemon."""
import json
import os
import re
import signal
import stat
import subprocess

import pytest

from cli_fixtures import POLYSTORE, Folder, fresh, packages, without_what_differs


@pytest.fixture(params=['direct', 'daemon'])
def notes(request, tmp_path):
    folder = fresh(tmp_path)
    if request.param == 'daemon':
        folder.start()
    yield folder
    folder.stop()


@pytest.fixture(params=['direct', 'daemon'])
def debs(request, tmp_path):
    folder = packages(tmp_path)
    if request.param == 'daemon':
        folder.start()
    yield folder
    folder.stop()


def test_init_overwrites_nothing(tmp_path):
    folder = Folder(tmp_path)
    assert 'polystore migrate up' in folder.good('init')
    assert '1 domain' not in folder.good('config', 'check')
    before = (tmp_path / 'polystore.yaml').read_text()
    folder.bad(4, 'init', says="'polystore.yaml' is here already")
    assert (tmp_path / 'polystore.yaml').read_text() == before
    folder.good('init', 'other')
    assert (tmp_path / 'other/migrations/0001_notes.sql').exists()


def test_nothing_is_made_where_nothing_is(tmp_path):
    folder = Folder(tmp_path)
    folder.bad(3, 'status', says="run 'polystore init'")
    assert os.listdir(tmp_path) == []


def test_records(notes):
    assert 'notes 1: version ' in notes.good('put', 'notes', '1', 'title=First', 'body=Hello you')
    assert 'notes 1: unchanged' in notes.good('put', 'notes', '1', 'title=First', 'body=Hello you')
    record = notes.json('get', 'notes', '1')
    assert record['row']['title'] == 'First' and record['row']['author'] is None
    version = str(record['version'])
    notes.bad(5, 'put', 'notes', '1', 'title=x', '--if-version', 'none')
    notes.bad(5, 'patch', 'notes', '1', 'title=x', '--if-version', '999')
    notes.good('patch', 'notes', '1', 'author=ada', 'tags:=["a", 1]', '--if-version', version)
    assert notes.json('get', 'notes', '1')['row']['tags'] == ['a', 1]
    notes.good('put', 'notes', '--new', 'title=Second')
    notes.good('put', 'notes', '3', '-', input='{"title": "Third", "author": "bob"}')
    assert len(notes.json('list', 'notes')['documents']) == 3
    assert notes.good('list', 'notes').splitlines()[0].split()[:2] == ['id', 'title']
    notes.good('delete', 'notes', '3')
    notes.bad(3, 'delete', 'notes', '3', says="'3'")
    notes.bad(3, 'get', 'notes', '3', says="'3'")
    notes.bad(3, 'get', 'nothing', '3', says="'nothing'")
    notes.bad(2, 'put', 'notes', '4', 'nothing=1', says="'nothing'")
    notes.bad(2, 'put', 'notes', '4', 'title', says="'title'")
    assert notes.json('patch', 'notes', '1', 'title=New')['results'][0]['key'] == '1'


def test_text_becomes_what_the_column_holds(debs):
    debs.good('put', 'packages', 'mine', 'version=1.10', 'installed_size=42')
    row = debs.json('get', 'packages', 'mine')['row']
    assert (row['version'], row['installed_size']) == ('1.10', 42)
    debs.bad(2, 'put', 'packages', 'mine', 'version=1', 'installed_size=4x', says='installed_size')


def names(answer):
    return [document['key'] for document in answer['documents']]


def test_list_filters_and_pages(debs):
    """Inside of a JSON column too (S3-13)."""
    def listed(*words):
        return names(debs.json('list', 'packages', *words))

    assert listed() == ['bash', 'dash', 'ed', 'emacs']
    assert listed('--where', 'section=shells') == ['bash', 'dash']
    assert listed('--where', 'installed_size>=191') == ['bash', 'dash', 'emacs']
    assert listed('--where', 'installed_size<191') == ['ed']
    assert listed('--where', 'name^=e', '--where', 'version!=1.19') == ['emacs']
    assert listed('--where', 'name in ed,dash') == ['dash', 'ed']
    assert listed('--where', 'depends is not null') == ['bash']
    assert listed('--where', 'depends$[0]=base-files') == ['bash']
    assert listed('--order', 'installed_size', '--descending', '--limit', '2') == ['emacs', 'bash']
    page = debs.json('list', 'packages', '--limit', '3')
    assert names(debs.json('list', 'packages', '--cursor', page['cursor'])) == ['emacs']
    debs.bad(2, 'list', 'packages', '--where', 'section', says="'section'")
    debs.bad(2, 'list', 'packages', '--limit', 'x')


def test_sql(debs):
    """Values are bound, never part of the text (S3-30)."""
    rows = debs.json('sql', 'SELECT name FROM packages WHERE installed_size > ?1 AND section = ?2',
                     '150', 'shells')['rows']
    assert [row['name'] for row in rows] == ['bash', 'dash']
    assert debs.good('sql', '-', input='SELECT 1 AS one').split() == ['one', '1']
    assert debs.good('sql', '--write', 'UPDATE packages SET section = ?1 WHERE section = ?2', 'sh',
                     'shells') == '2 rows changed\n'
    assert debs.json('log', 'tail', '-n', '1')['type'] == '$put'
    debs.bad(2, 'sql', 'SELEC 1')


def test_search(debs):
    """One call over the searchable domains (S3-19, S4-06)."""
    hits = debs.json('search', '--', 'text editor', '-emacs')['hits']
    assert [hit['key'] for hit in hits] == ['ed']
    answer = debs.json('search', 'shell*', '--where', 'section=shells', '--count', '--limit', '1')
    assert (len(answer['hits']), answer['total']) == (1, 2)
    assert len(debs.json('search', 'shell', '--where', 'installed_size>1000')['hits']) == 1
    either = '{"or": [{"installed_size": {">": 1000}}, {"not": {"section": "shells"}}]}'
    found = debs.json('search', 'shell OR editor', '--condition', either)['hits']
    assert sorted(hit['key'] for hit in found) == ['bash', 'ed', 'emacs']
    debs.bad(2, 'search', 'shell', '--condition', '{"section": [1]}', says="'where': condition: a list")
    assert '[shell]' in debs.good('search', 'runs shell').lower()
    debs.bad(2, 'search', '"open')


def test_events(notes):
    """Expected versions, payloads by path, results replayed (S2-12)."""
    notes.good('append', 'visit-1', 'Came', 'city=Paris', 'guests:=2', '--expected', 'none')
    notes.good('append', 'visit-1', 'Left', '{"city": "Oslo"}', '--expected', '1', '--meta',
               '{"by": "door"}')
    notes.good('append', 'visit-1', 'Rested')
    notes.bad(5, 'append', 'visit-1', 'Left', '--expected', '1')
    records = notes.json('events', 'visit-1')['records']
    assert [r['type'] for r in records] == ['Came', 'Left', 'Rested']
    assert records[0]['data'] == {'city': 'Paris', 'guests': 2}
    assert len(notes.json('events', 'visit-1', '--from', '2')['records']) == 2
    assert notes.json('events', 'visit-1', '--backwards', '--limit', '1')['records'][0]['version'] == 3
    found = notes.json('events', 'visit-1', '--where', '$.city=Oslo')['records']
    assert [r['version'] for r in found] == [2]
    assert notes.good('events', 'visit-1').splitlines()[0].startswith('1  ')
    notes.bad(3, 'events', 'visit-9', says="'visit-9'")
    one = notes.json('append', 'visit-2', 'Came', '--idempotency-key', 'k')
    two = notes.json('append', 'visit-2', 'Came', '--idempotency-key', 'k')
    assert (one['position'], two['replayed']) == (two['position'], True)


def test_log(notes, tmp_path):
    """Verified, exported, and its events imported elsewhere (S2-11)."""
    notes.good('put', 'notes', '1', 'title=a')
    notes.good('append', 'visit-1', 'Came', 'n:=1')
    notes.good('append', 'visit-1', 'Left', 'n:=2')
    assert len(notes.good('log', 'tail').splitlines()) == 3
    assert len(notes.good('log', 'tail', '-n', '1').splitlines()) == 1
    verified = notes.json('log', 'verify')
    assert verified['ok'] and verified['records'] == 3
    lines = [json.loads(line) for line in notes.good('log', 'export').splitlines()]
    assert [line['type'] for line in lines] == ['$put', 'Came', 'Left']
    assert notes.good('log', 'export', 'out.jsonl') == 'out.jsonl: 3 records\n'
    notes.bad(4, 'log', 'export', 'out.jsonl')
    (tmp_path / 'other').mkdir()
    other = fresh(tmp_path / 'other')
    answer = other.json('log', 'import', os.path.join(notes.path, 'out.jsonl'))
    assert (answer['events'], answer['skipped']) == (2, 1)
    assert len(other.json('events', 'visit-1')['records']) == 2
    notes.bad(2, 'log', 'import', '-', input='{"stream": "a-1"}\n', says='line 1')


def test_subscribe(notes):
    for i in range(3):
        notes.good('append', 'visit-%d' % i, 'Came')
    assert len(notes.good('subscribe', '--limit', '3').splitlines()) == 3
    assert len(notes.good('subscribe', '--limit', '1', '--type', 'Came', '--from', '1').splitlines()) == 1
    first = notes.good('subscribe', '--name', 'door', '--ack', '--limit', '2', '--json')
    second = notes.good('subscribe', '--name', 'door', '--ack', '--limit', '1', '--json')
    assert [json.loads(line)['key'] for line in (first + second).splitlines()] == ['0', '1', '2']
    again = notes.good('subscribe', '--name', 'desk', '--limit', '1', '--json')
    assert again == notes.good('subscribe', '--name', 'desk', '--limit', '1', '--json')
    notes.bad(2, 'subscribe', '--ack', says='--name')
    assert notes.good('subscription', 'delete', 'door') == 'door: forgotten\n'
    notes.bad(3, 'subscription', 'delete', 'door', says="no subscription 'door'")
    assert [s['name'] for s in notes.json('status')['subscriptions']] == ['desk']
    anew = notes.good('subscribe', '--name', 'door', '--limit', '1', '--json')
    assert json.loads(anew)['key'] == '0'


def test_subscribe_gives_what_comes_and_ends_by_ctrl_c(tmp_path):
    folder = fresh(tmp_path).start()
    reader = subprocess.Popen([POLYSTORE, 'subscribe', '--json'], cwd=folder.path,
                              stdout=subprocess.PIPE, text=True, env=folder.environment())
    folder.good('append', 'visit-1', 'Came')
    assert json.loads(reader.stdout.readline())['type'] == 'Came'
    folder.good('append', 'visit-1', 'Left')
    assert json.loads(reader.stdout.readline())['type'] == 'Left'
    reader.send_signal(signal.SIGINT)
    assert reader.wait(10) == 0
    folder.stop()


def test_status_and_exit_code(notes):
    """Who owns what, and how each store is (S0-37, S4-83, S4-90)."""
    status = notes.json('status')
    assert status['state'] == 'ok' and {d['name'] for d in status['domains']} == {'notes', 'visit'}
    assert {d['name']: d['owner'] for d in status['domains']} == {'notes': 'relational',
                                                                  'visit': 'events'}
    assert notes.good('status').startswith('state     ok\n')
    assert re.search(r'^visit +events ', notes.good('status'), re.M)
    assert notes.run('put', 'visit', '1', 'text=x').returncode not in (0, 1)
    assert notes.run('append', 'notes-1', 'Came').returncode not in (0, 1)
    assert notes.json('status')['head'] == status['head']


def test_migrations(tmp_path):
    """An edited file is refused (S3-31)."""
    folder = Folder(tmp_path)
    folder.good('init')
    assert 'pending' in folder.good('migrate', 'status')
    assert folder.json('migrate', 'up')['pending'] == 0
    folder.good('migrate', 'verify')
    folder.file('migrations/0001_notes.sql', 'CREATE TABLE other(id INTEGER PRIMARY KEY);')
    done = folder.run('migrate', 'verify')
    assert done.returncode == 5 and '0001_notes.sql' in done.stdout
    folder.bad(5, 'migrate', 'up', says='0001_notes.sql')


def test_keys(notes):
    key = notes.json('key', 'create', '--label', 'shop', '--rights', 'read', '--expires', '30d',
                     '--tenant', 'acme')
    assert key['secret'].startswith('pk_') and key['tenant'] == 'acme'
    listed = {k['id']: k for k in notes.json('key', 'list')['keys']}
    assert listed[key['id']]['label'] == 'shop' and key['secret'] not in notes.good('key', 'list')
    notes.good('key', 'revoke', key['id'])
    assert 'revoked' in {k['id']: k for k in notes.json('key', 'list')['keys']}[key['id']]
    notes.bad(3, 'key', 'revoke', 'nothing')
    notes.bad(2, 'key', 'create', '--rights', 'everything')
    notes.bad(2, 'key', 'create', '--expires', 'soon', says='30d')


def test_rebuild_and_projection(notes):
    """A store is built again from the log (S2-10)."""
    notes.good('put', 'notes', '1', 'title=findme')
    assert notes.good('rebuild', 'search') == 'search: rebuilt, and swapped\n'
    assert len(notes.json('search', 'findme')['hits']) == 1
    notes.good('rebuild', 'search', '--back')
    assert len(notes.json('search', 'findme')['hits']) == 1
    notes.bad(5, 'projection', 'retry', 'search')
    notes.bad(2, 'projection', 'skip', 'search', says='--reason')
    notes.bad(5, 'projection', 'skip', 'search', '--reason', 'test')
    assert notes.run('rebuild', 'nothing').returncode in (2, 3)


def test_tokens(notes):
    """A read sees at least the write that its token stands for (S2-29)."""
    token = notes.json('append', 'visit-1', 'Came')['token']
    notes.good('events', 'visit-1', '--token', token)
    notes.good('events', 'visit-1', '--token', token, '--consistency', 'stale')
    notes.bad(2, 'events', 'visit-1', '--token', 'x' + token[1:])
    notes.bad(2, 'events', 'visit-1', '--consistency', 'sometimes', says='wait|fail|stale')


def test_errors_as_json(notes):
    done = notes.run('--json', 'get', 'notes', '99')
    assert done.returncode == 3 and done.stdout == ''
    error = json.loads(done.stderr)
    assert (error['error'], error['verb']) == ('not-found', 'get') and "'99'" in error['message']
    done = notes.run('nothing', '--json')
    assert done.returncode == 2 and json.loads(done.stderr)['error'] == 'invalid'


def test_config(tmp_path):
    folder = Folder(tmp_path)
    folder.bad(3, 'config', 'check')
    folder.file('polystore.yaml', 'domains:\n  a: {tabel: b}\n')
    folder.bad(2, 'config', 'check', says='polystore.yaml:2')
    folder.bad(2, 'status', says='polystore.yaml:2')
    assert '| `' in folder.good('config', 'reference')


def test_daemon_is_found_and_its_key(tmp_path):
    folder = fresh(tmp_path).start()
    try:
        key = (tmp_path / 'data/admin.key')
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        folder.good('put', 'notes', '1', 'title=x')
        secret = key.read_text().strip()
        key.rename(tmp_path / 'hidden')
        folder.bad(6, 'get', 'notes', '1')
        folder.good('get', 'notes', '1', '--key-file', 'hidden')
        done = subprocess.run([POLYSTORE, 'get', 'notes', '1'], cwd=folder.path,
                              env=dict(folder.environment(), POLYSTORE_KEY=secret))
        assert done.returncode == 0
        folder.bad(6, 'get', 'notes', '1', '--key-file', folder.file('k', 'pk_aa_bb\n'))
        folder.bad(9, 'get', 'notes', '1', '--server', 'http://127.0.0.1:1', '--key-file', 'hidden')
        folder.bad(2, 'get', 'notes', '1', '--server', '127.0.0.1:1')
    finally:
        folder.stop()
    folder.good('get', 'notes', '1')


def test_same_session_both_ways(tmp_path):
    """The same words give the same answers, directly and through a daemon (S2-22)."""
    session = [
        ['put', 'notes', '1', 'title=One', 'body=a text'], ['put', 'notes', '1', 'title=One'],
        ['put', 'notes', 'x', 'title=One'], ['get', 'notes', '1'], ['get', 'notes', '1', '--json'],
        ['get', 'notes', '2'], ['get', 'no/such ü', '2'], ['get', 'notes', 'a/b?c=%'],
        ['list', 'notes'], ['list', 'notes', '--json', '--where', 'title=One'],
        ['list', 'notes', '--where', 'x=1'], ['search', 'One'], ['search', '"'],
        ['sql', 'SELECT id, title FROM notes'], ['sql', 'SELECT'], ['sql', 'DELETE FROM notes'],
        ['append', 'visit-1', 'Came', 'a=1'], ['append', 'visit-1', '$put'],
        ['events', 'visit-1', '--json'], ['log', 'tail'], ['log', 'export'], ['log', 'verify'],
        ['delete', 'notes', '1', '--if-version', '999'], ['delete', 'notes', '1'],
        ['rebuild', 'search'], ['migrate', 'up'], ['migrate', 'status', '--json'],
        ['subscribe', '--limit', '2'], ['projection', 'retry', 'search'],
    ]
    answers = []
    for name in ('direct', 'daemon'):
        os.mkdir(tmp_path / name)
        folder = fresh(tmp_path / name)
        if name == 'daemon':
            folder.start()
        told = []
        for words in session:
            done = folder.run(*words)
            out = done.stdout.replace('"by":"cli"', '"by":X').replace(
                '"by":"%s"' % key_id(folder), '"by":X')
            told.append((words, done.returncode, without_what_differs(out),
                         without_what_differs(done.stderr)))
        answers.append(told)
        folder.stop()
    for direct, daemon in zip(*answers):
        assert direct == daemon


def key_id(folder):
    path = os.path.join(folder.path, 'data/admin.key')
    if not os.path.exists(path):
        return 'none'
    with open(path) as file:
        return file.read().split('_')[1]


def test_daemon_with_tls_is_found(tmp_path):
    """Its certificate is the configuration's: nobody has to sign it."""
    folder = fresh(tmp_path)
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
                    '/CN=elsewhere', '-keyout', 'key.pem', '-out', 'cert.pem'], cwd=folder.path,
                   check=True, capture_output=True)
    config = tmp_path / 'polystore.yaml'
    config.write_text(config.read_text().replace(
        ':7430"}', ':7430", tls: {certificate: cert.pem, key: key.pem}}'))
    folder.start()
    try:
        folder.good('put', 'notes', '1', 'title=secret')
        with open(tmp_path / 'data/lock') as file:
            url = 'https://' + file.read().split('note daemon ')[1].split()[0].split('//')[-1]
        folder.bad(9, 'get', 'notes', '1', '--server', url, says='certificate')
        folder.bad(9, 'get', 'notes', '1', '--server', url, '--ca', 'cert.pem', says='elsewhere')
    finally:
        folder.stop()


def test_a_reader_that_leaves_is_no_error(notes):
    for i in range(40):
        notes.good('append', 'visit-%d' % i, 'Came', 'text=' + 'x' * 5000)
    done = subprocess.run(['bash', '-c', 'polystore log export | head -n 1; echo ${PIPESTATUS[0]}'],
                          cwd=notes.path, env=notes.environment(), capture_output=True, text=True)
    assert done.stderr == '' and done.stdout.count('\n') == 2


@pytest.mark.parametrize('daemon', [False, True])
def test_tenants_see_their_own(tmp_path, daemon):
    """Another tenant's record looks the same as none (S4-36)."""
    folder = Folder(tmp_path)
    os.mkdir(tmp_path / 'migrations')
    folder.file('migrations/0001_a.sql', 'CREATE TABLE sites(id TEXT PRIMARY KEY, tenant_id TEXT '
                                         'NOT NULL, name TEXT);')
    folder.file('polystore.yaml', 'migrations: migrations\ndomains:\n  sites: {table: sites, '
                                  'tenant: tenant_id, search: {fields: [name]}}\n')
    folder.good('migrate', 'up')
    if daemon:
        folder.start()
    folder.good('put', 'sites', 'a', 'name=mast', '--tenant', 'acme')
    folder.good('put', 'sites', 'b', 'name=mast', '--tenant', 'other')
    folder.bad(3, 'get', 'sites', 'b', '--tenant', 'acme')
    folder.bad(6, 'get', 'sites', 'b')
    assert names(folder.json('list', 'sites', '--tenant', 'acme')) == ['a']
    assert len(folder.json('search', 'mast', '--tenant', 'acme')['hits']) == 1
    rows = folder.json('sql', 'SELECT id FROM sites', '--tenant', 'other')['rows']
    assert rows == [{'id': 'b'}]
    answer = folder.json('import', 'sites', '-', '--format', 'csv', '--tenant', 'acme',
                         input='id,name\nc,tower\n')
    assert answer['changed'] == 1
    assert names(folder.json('list', 'sites', '--tenant', 'acme')) == ['a', 'c']
    folder.stop()


def test_tail_goes_on(tmp_path):
    folder = fresh(tmp_path).start()
    folder.good('append', 'visit-1', 'Came')
    reader = subprocess.Popen([POLYSTORE, 'log', 'tail', '-f'], cwd=folder.path, text=True,
                              stdout=subprocess.PIPE, env=folder.environment())
    assert ' Came ' in reader.stdout.readline()
    folder.good('append', 'visit-1', 'Left')
    assert ' Left ' in reader.stdout.readline()
    reader.send_signal(signal.SIGTERM)
    assert reader.wait(10) == 0
    folder.stop()


def test_a_folder_that_is_taken(tmp_path):
    folder = fresh(tmp_path)
    reader = subprocess.Popen([POLYSTORE, 'subscribe', '--json'], cwd=folder.path, text=True,
                              stdout=subprocess.PIPE, env=folder.environment())
    while 'pid' not in (tmp_path / 'data/lock').read_text():
        assert reader.poll() is None
    folder.bad(9, 'status', says='data')
    reader.send_signal(signal.SIGINT)
    assert reader.wait(10) == 0
    folder.good('status')
