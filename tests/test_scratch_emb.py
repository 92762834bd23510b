import psycopg, pytest, redis, os
@pytest.mark.parametrize("i", range(10))
def test_db(i, database, redis_url):
    with psycopg.connect(database) as c:
        assert c.execute("select count(*) from ledger.schema_version").fetchone() == (1,)
        assert c.execute("select count(*) from information_schema.tables where table_schema='ledger'").fetchone()[0] > 1
    with redis.Redis.from_url(redis_url) as r:
        assert not r.keys("*"); r.set("a", 1)
def test_empty(empty_database, monkeypatch):
    assert "API_PORT" not in os.environ and "PGPORT" not in os.environ
    with psycopg.connect(empty_database) as c:
        assert c.execute("select count(*) from information_schema.tables where table_schema='ledger'").fetchone()[0] == 0
import threading
def test_hang():
    open("/tmp/scratch_t/hang","w").close(); threading.Event().wait(60)
