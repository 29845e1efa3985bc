"""examples/chat on SQLite and on PostgreSQL: its README word for word, one schema in two dialects, and
indexes that serve what they are for (S3-35..48, S3-61..64, S3-80, D1, D3, D4, D8)."""
import os
import re
import shutil
import signal
import sqlite3
import subprocess

import pytest

import postgresql as pg
from harness import wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('POLY_TEST_BUILD', os.path.join(ROOT, 'build'))
POLYSTORE = os.environ.get('POLYSTORE', os.path.join(BUILD, 'src/cli/polystore'))
MARA = '09e1ac0f-d7ad-4afc-a3fb-c7a0ec5b74a2'
LOOKUPS = {'idx_chats_user_id_updated_at', 'idx_chat_messages_chat_id_created_at'}


class Chat:
    """The example in a folder of its own. server None: as it is, on SQLite. pgvector: the server has
    it, and the vectors are in the records' own table."""

    def __init__(self, path, server, pgvector=False):
        self.path, self.server = os.path.join(str(path), 'chat'), server
        shutil.copytree(os.path.join(ROOT, 'examples/chat'), self.path)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('POLYSTORE')}
        self.env['PATH'] = os.path.dirname(POLYSTORE) + ':' + self.env['PATH']
        if server is not None:
            self.database = server.database()
            if pgvector:
                server.sql('CREATE EXTENSION vector', self.database)
            for line in ('stores:', '  relational:') + ('  vector:',) * pgvector:
                self.edit('polystore.yaml', '#' + line, line)
            self.edit('polystore.yaml', 'postgresql:///chat', server.url(database=self.database))

    def edit(self, name, old, new):
        path = os.path.join(self.path, name)
        with open(path) as file:
            text = file.read()
        assert text.count(old) == 1, (name, old)
        with open(path, 'w') as file:
            file.write(text.replace(old, new))

    def shell(self, command, code=None):
        done = subprocess.run(command, shell=True, cwd=self.path, env=self.env, timeout=60, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def compile(self, name):
        """With this build's library, as pkg-config would say it of the installed one."""
        library = os.path.join(BUILD, 'src')
        self.shell('cc -Wall -Wextra -Werror %s.c -I%s -L%s -Wl,-rpath,%s -lpolystore -o %s' % (
            name, os.path.join(ROOT, 'include'), library, library, name), code=0)

    def begin(self, *words):
        return subprocess.Popen([POLYSTORE, *words], cwd=self.path, env=self.env)

    def sql(self, text):
        if self.server is not None:
            return self.server.sql(text, self.database, admin=False)
        with sqlite3.connect(os.path.join(self.path, 'data/polystore.db')) as db:
            db.execute('PRAGMA recursive_triggers = ON')
            return '\n'.join('|'.join(map(str, row)) for row in db.execute(text))

    def indexes(self):
        """{name: (table, columns, unique)} of those that are not a primary key's."""
        rows = self.sql("""SELECT i.relname, t.relname, string_agg(a.attname, ' ' ORDER BY k.n),
            x.indisunique::int FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON
            m.oid = i.relam AND m.amname = 'btree' JOIN pg_class t ON t.oid = x.indrelid CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(c, n)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.c WHERE NOT x.indisprimary
            AND t.relnamespace = 'public'::regnamespace AND x.indisvalid GROUP BY 1, 2, 4"""
                        if self.server is not None else
                        """SELECT i.name, t.name, (SELECT group_concat(name, ' ') FROM
            pragma_index_info(i.name)), i."unique" FROM sqlite_schema t JOIN pragma_index_list(t.name) i
            WHERE t.type = 'table' AND t.name NOT LIKE 'poly%' AND t.name NOT LIKE 'search%'
            AND t.name NOT LIKE 'sqlite%' AND i.origin <> 'pk'""")
        return {name: tuple(rest) for name, *rest in (row.split('|') for row in rows.split('\n'))}

    def columns(self):
        """table.column and whether it must have a value; that it has a default."""
        return self.sql("""SELECT table_name || '.' || column_name, (is_nullable = 'NO')::int,
            (column_default IS NOT NULL)::int FROM information_schema.columns WHERE table_schema =
            'public' ORDER BY table_name, ordinal_position"""
                        if self.server is not None else
                        """SELECT t.name || '.' || c.name, c."notnull", c.dflt_value IS NOT NULL
            FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.name IN ('users', 'chats',
            'chat_messages', 'chat_vectors') ORDER BY t.name, c.cid""").split('\n')


@pytest.fixture(scope='session')
def pgvector(harness):
    return pg.start(harness, 'postgresql18')


@pytest.fixture(params=['sqlite', 'postgresql'])
def chat(request, tmp_path):
    return Chat(tmp_path, None if request.param == 'sqlite'
                else request.getfixturevalue('postgresql'))


@pytest.fixture(params=['sqlite', 'postgresql', 'pgvector'])
def any_chat(request, tmp_path):
    return Chat(tmp_path, None if request.param == 'sqlite'
                else request.getfixturevalue(request.param), request.param == 'pgvector')


def same(text):
    """Without what differs from day to day."""
    for pattern, word in ((r'(applied) +\S+Z', r'\1 TIME'), (r'; \d+\.\d s', '; N s'),
                          (r'[0-9a-f-]{36}: version \d+', 'KEY: version N'),
                          (r'^token \S+', 'token TOKEN'), (r'[ \t]+$', ''),
                          (r'([":,]) (?=["\d])', r'\1')):  # JSON, as each database keeps it
        text = re.sub(pattern, word, text, flags=re.M)
    return text.strip()


def readme():
    with open(os.path.join(ROOT, 'examples/chat/README.md')) as file:
        blocks = re.findall(r'^```console\n(.*?)^```', file.read(), re.M | re.S)
    return re.findall(r'^\$ (.*)\n((?:(?!\$ ).*\n)*)', ''.join(blocks), re.M)


def load(chat, vectors=True):
    for command, _ in readme():
        if command.startswith(('polystore migrate', 'polystore import')) or \
                vectors and 'vector import' in command:
            chat.shell(command, code=0)


def test_the_readme_word_for_word(any_chat):
    chat, commands = any_chat, readme()
    assert len(commands) == 15
    assert chat.shell('polystore config check', code=0)
    chat.compile('semantic')
    for command, answer in commands:
        said = same(chat.shell(command))
        if ' search ' in command and said != same(answer):
            # an index that follows the log may be a moment behind the last import
            wait_for(lambda: same(chat.shell(command)) == same(answer), 30)
        else:
            assert said == same(answer), command


@pytest.mark.parametrize('place', ['sqlite', 'pgvector'])
def test_semantic_search(request, tmp_path, place):
    """S3-41..48: the defaults, a chat, an owner; what was found or an error, never both."""
    server = None if place == 'sqlite' else request.getfixturevalue(place)
    chat = Chat(tmp_path, server, server is not None)
    chat.compile('semantic')
    load(chat)
    bread = 'sample/bread.json'

    def found(text):
        return [float(x) for x in re.findall(r'^similarity: (.*)$', text, re.M)]
    said = chat.shell('./semantic %s %s' % (MARA, bread), code=0)
    assert len(found(said)) == 6 and min(found(said)) >= 0.7  # 12 are less similar, or nobody's
    assert found(said) == sorted(found(said), reverse=True)
    for column in ('id', 'content', 'chat_id', 'message_id', 'metadata', 'created_at'):
        assert len(re.findall('^%s: ' % column, said, re.M)) == 6
    assert len(found(chat.shell('./semantic %s %s 0.01' % (MARA, bread), code=0))) == 10
    assert len(found(chat.shell('./semantic %s %s 0.01 3' % (MARA, bread), code=0))) == 3
    letter = '8e933135-4b17-45d8-989b-500460a77fb9'
    one = chat.shell('./semantic %s %s 0.01 50 %s' % (MARA, bread, letter), code=0)
    assert set(re.findall(r'^chat_id: (.*)$', one, re.M)) == {letter}
    chat.shell("sed -i 's/,[^,]*]/]/' " + bread)  # a number less
    wrong = chat.shell('./semantic %s %s' % (MARA, bread), code=2)
    assert wrong.startswith('semanticSearch: ') and '100' in wrong and not found(wrong)
    nobody = chat.shell("./semantic '' %s" % bread, code=2)
    assert nobody == 'semanticSearch: a user id is needed\n'


def test_vectors_in_the_records_table(tmp_path, pgvector):
    """S3-38..40, S3-79..81: pgvector's type, its index, and no copy of either."""
    chat = Chat(tmp_path, pgvector, True)
    load(chat)
    assert chat.sql("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid ="
                    " 'chat_vectors'::regclass AND attname = 'embedding'") == 'vector(100)'
    assert chat.sql('SELECT count(embedding) FROM chat_vectors') == '22'
    assert 'chat_vectors USING hnsw (embedding vector_cosine_ops) WITH (m=\'16\', ef_construction=' \
        "'64')" in chat.sql("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
    assert chat.sql("SELECT count(*) FROM pg_class WHERE relname ~ '^(entries_[0-9]+_|poly_vector_)'"
                    ) == '0'
    search = 'polystore --tenant %s vector search memories --file sample/bread.json --limit 1' % MARA
    before = chat.shell(search, code=0)
    chat.sql("DELETE FROM chat_vectors WHERE id = '%s'" % before.split()[-1])
    after = chat.shell(search, code=0)  # what another program did is seen with its commit
    assert after != before and len(after.split('\n')) == len(before.split('\n'))


def test_one_schema_in_two_dialects(tmp_path, postgresql):
    """D8; and no index twice: D3, D4."""
    both = []
    for name, server in (('sqlite', None), ('postgresql', postgresql)):
        os.makedirs(tmp_path / name)
        both.append(Chat(tmp_path / name, server))
        both[-1].shell('polystore migrate up', code=0)
    lite, server = both
    # Polystore makes the key on SQLite
    made = {t + '.id|1|1' for t in ('users', 'chats', 'chat_messages', 'chat_vectors')}
    assert [c.replace('.id|1|1', '.id|1|0') if c in made else c for c in server.columns()] == \
        lite.columns()
    for one in both:
        kinds = list(one.indexes().values())
        assert len(kinds) == len(set(kinds)) == 9
        assert kinds.count(('users', 'email', '1')) == 1
    named = [{k: v for k, v in one.indexes().items() if k.startswith('idx_')} for one in both]
    assert named[0] == named[1] and LOOKUPS < set(named[0])
    server.sql("INSERT INTO users(email) VALUES ('a@example.com')")
    wait_for(lambda: 'a@example.com' in server.shell('polystore list users', code=0), 30)
    assert 'applied' in server.shell('polystore migrate verify', code=0)
    server.edit('migrations/0001_chat.postgresql.sql', 'last_login', 'seen_last')
    for verb in ('verify', 'up'):
        assert 'edited after it was applied' in server.shell('polystore migrate ' + verb, code=5)


# What follows is written for SQLite. User 0 is Mara; chat N is of user N % 20, at some hour of
# 166 days; message N is of chat N % 100.
MANY = [
    "INSERT INTO users(id, email) SELECT {users:i}, 'user' || i || '@example.com' FROM s"
    " WHERE i < 20",
    "INSERT INTO chats(id, user_id, title, updated_at) SELECT {chats:i}, CASE WHEN i % 20 = 0 THEN"
    " {mara} ELSE {users:i % 20} END, 'chat ' || i, {time:i * 7919 % 4000 * 3600} FROM s WHERE i <= 4000",
    "INSERT INTO chat_messages(id, chat_id, role, content, created_at) SELECT {messages:i},"
    " {chats:i % 100 + 1}, 'user', 'message ' || i, {time:i * 7919 % 10000} FROM s",
    'ANALYZE']
SERIES = 'WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 10000) '
KINDS = {'users': 'a', 'chats': '8', 'messages': '9'}


def fill(chat):
    """Enough of everything that a plan is worth its index."""
    server = chat.server is not None

    def place(match):
        kind, _, number = match.group(1).partition(':')
        if kind == 'mara':
            return "'%s'" % MARA + ('::uuid' if server else '')
        if kind == 'time':
            return ('to_timestamp(1760000000 + %s)' if server else
                    '(1760000000 + %s) * 1000000') % number
        rest = "-0000-4000-%s000-000000000000'" % KINDS[kind]
        return "(lpad(to_hex(%s), 8, '0') || '%s)::uuid" % (number, rest) if server else \
            "printf('%%08x%s, %s)" % (rest, number)
    for text in MANY:
        text = re.sub(r'{(.*?)}', place, text)
        chat.sql(SERIES + text if 'FROM s' in text else text)


ACTIVE = "SELECT id, title FROM chats WHERE user_id = '%s' AND updated_at >= %s" \
    " ORDER BY updated_at DESC LIMIT 10"
SAID = "SELECT role, content FROM chat_messages WHERE chat_id = '00000007-0000-4000-8000-000000000000'" \
    " ORDER BY created_at LIMIT 10"


def test_the_plans_take_the_indexes(chat):
    """S3-61, S3-62, and what S3-64 needs without the index that cannot be made (D1)."""
    load(chat)
    fill(chat)
    since = '1771808000000000' if chat.server is None else "'2026-02-23'"
    for query, index in ((ACTIVE % (MARA, since), 'idx_chats_user_id_updated_at'),
                         (SAID, 'idx_chat_messages_chat_id_created_at')):
        plan = chat.sql(('EXPLAIN QUERY PLAN ' if chat.server is None else 'EXPLAIN ') + query)
        assert index in plan, plan
        assert 'Sort' not in plan and 'B-TREE' not in plan, plan


def test_polystore_reads_by_the_indexes(tmp_path, postgresql):
    """What a list of ours asks the server, not what a test would ask."""
    chat = Chat(tmp_path, postgresql)
    load(chat)
    fill(chat)
    chat.shell("polystore list chats --where user_id=%s --where 'updated_at>=2026-02-23T00:00:00Z'"
               ' --order updated_at --descending --limit 10' % MARA, code=0)
    chat.shell('polystore list messages --where chat_id=00000007-0000-4000-8000-000000000000'
               ' --order created_at --limit 10', code=0)
    wait_for(lambda: set(chat.sql("SELECT indexrelname FROM pg_stat_user_indexes WHERE idx_scan > 0"
                                  " AND indexrelname ~ '_at$'").split('\n')) == LOOKUPS, 30)


@pytest.fixture
def psql(postgresql):
    """Somebody with a transaction open, until stdin is closed."""
    begun = []

    def begin(database, sql):
        begun.append(subprocess.Popen(
            [pg.client('psql'), '-Xqd', postgresql.url(database=database)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        begun[-1].stdin.write(sql + '; SELECT 1;\n')
        begun[-1].stdin.flush()
        begun[-1].stdout.readline()
        return begun[-1]
    yield begin
    for one in begun:
        one.kill()
        one.wait()
        one.stdin.close()
        one.stdout.close()


def test_a_runner_is_killed_in_the_middle(tmp_path, postgresql, psql):
    """The server goes on with what it was told, or leaves an index that is not valid; the next
    runner waits for the one and mends the other."""
    chat = Chat(tmp_path, postgresql)
    lookups = os.path.join(chat.path, 'migrations/0002_lookups.postgresql.sql')
    os.rename(lookups, lookups + '.later')
    os.remove(os.path.join(chat.path, 'migrations/0003_vectors.postgresql.sql'))  # what follows it
    load(chat, vectors=False)
    os.rename(lookups + '.later', lookups)
    old = psql(chat.database, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM chats LIMIT 1')
    building = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX CONCURRENTLY%'" \
        " AND wait_event_type = 'Lock' AND datname = current_database()"
    first = chat.begin('migrate', 'up')
    pid = wait_for(lambda: chat.sql(building), 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 'pending' in chat.shell('polystore migrate status', code=0)
    second = chat.begin('migrate', 'up')
    wait_for(lambda: chat.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE"
                              " '%pg_try_advisory_lock%' AND pid <> pg_backend_pid() AND datname ="
                              ' current_database()'), 60)
    chat.sql('SELECT pg_terminate_backend(%s)' % pid)  # what is left of the first one
    wait_for(lambda: chat.sql('SELECT 1 FROM pg_locks WHERE NOT granted'), 60)
    old.stdin.close()
    assert second.wait(60) == 0
    assert LOOKUPS < set(chat.indexes())
    assert chat.sql('SELECT count(*) FROM pg_index WHERE NOT indisvalid') == '0'
