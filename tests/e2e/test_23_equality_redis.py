"""What comes back is what there was: Redis with every type it has, in several databases, or with nothing at all."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.data import BACKUPS, listed, raw, redis, settled, write
from tests.e2e.world import Project, container_of, in_container, inside, wait_until

NOTHING = "0" * 40
SECRET = 'export REDISCLI_AUTH="$(cat /run/secrets/password)"; '
SERVER = "e2e-digest"
FAR = 4102444800  # seconds: nothing expires while we look
# As redis-cli reads it: a command a line.
FILL = rf"""
SELECT 0
SET "bin\x00\xff\r\n \"q\" \\" "\x00\x01\xfe\xff\r\n"
SET empty ""
SET number -9223372036854775808
SETRANGE sparse 70000 x
SETBIT bits 1234567 1
PFADD hll a b c "\x80"
SET lasting x EXAT {FAR}
SET "é 日本 😀" "\\x00 {{}} %s $1"
RPUSH list a "" "\x00" 12 -1.5
LPUSH list "{"l" * 5000}"
SADD ints 1 2 3
SADD mixed 1 x "\xff"
ZADD zset inf a -inf b 1e-300 c 1 "\x00" 1 aa
GEOADD places 13.361389 38.115556 Palermo
HSET hash a 1 "" "" "\x00" "\xff"
HSET fading a 1 b 2 c 3
HEXPIREAT fading {FAR} FIELDS 1 a
HPEXPIREAT fading {FAR}999 FIELDS 1 b
PEXPIREAT fading {FAR}123
XADD stream 1-1 f v "" "\xff"
XADD stream 5-3 f v2
XADD stream 9-0 other x
XADD stream 10-0 gone x
XGROUP CREATE stream readers 0
XGROUP CREATE stream "idle \x00" $ ENTRIESREAD 2
XREADGROUP GROUP readers one COUNT 2 STREAMS stream >
XREADGROUP GROUP readers two COUNT 1 STREAMS stream >
XACK stream readers 1-1
XGROUP CREATECONSUMER stream readers sleeper
XDEL stream 10-0
XADD emptied 1-1 a b
XDEL emptied 1-1
EVAL "for i = 1, 700 do redis.call('RPUSH', 'long', 'item ' .. i .. string.rep('x', i % 90)) end" 0
EVAL "for i = 1, 700 do redis.call('SADD', 'big ints', i * 7) redis.call('SADD', 'big set', 'm' .. i) end" 0
EVAL "for i = 1, 700 do redis.call('ZADD', 'big zset', i / 3, 'm' .. i) end" 0
EVAL "for i = 1, 700 do redis.call('HSET', 'big hash', 'f' .. i, string.rep(i, 9)) end" 0
HEXPIREAT "big hash" {FAR} FIELDS 2 f1 f700
SELECT 1
SET only "in one"
EVAL "for i = 1, 3000 do redis.call('SET', 'key ' .. i, i, 'PXAT', {FAR}000 + i) end" 0
SELECT 3
SET lasting "not that of 0"
"""
LIBRARIES = (
    "#!lua name=lib\nredis.register_function('f', function() return 7 end)",
    "#!lua name=other\nlocal function g(keys, words) return words end\n"
    "redis.register_function{function_name='g', callback=g, description='é', flags={'no-writes'}}",
)
# What the digest of Redis does not see: when keys and fields expire, groups of streams.
ABOUT = """
local told = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local line = {redis.sha1hex(key), kind, redis.call('PEXPIRETIME', key)}
  if kind == 'stream' then line[4] = redis.sha1hex(redis.call('DUMP', key)) end
  if kind == 'hash' then
    local fields = redis.call('HKEYS', key)
    table.sort(fields)
    line[4] = table.concat(redis.call('HPEXPIRETIME', key, 'FIELDS', #fields, unpack(fields)), ' ')
  end
  told[#told + 1] = table.concat(line, ' ')
end
table.sort(told)
return told
"""


def filled() -> None:
    for library in LIBRARIES:
        redis("FUNCTION", "LOAD", "REPLACE", library)
    answers = in_container("redis", "sh", "-c", f"{SECRET} redis-cli | tr -cd '\\n -~'", stdin=FILL)
    assert [line for line in answers.splitlines() if line.startswith(("ERR", "(error)", "WRONGTYPE"))] == []


def digest(rdb: bytes) -> str:
    """DEBUG DIGEST of what is in an RDB file, told by a server of the same image: the live one does not know DEBUG."""
    inside("mkdir", "-p", "/root/e2e-digest")
    write("/root/e2e-digest/dump.rdb", rdb)
    image = inside("docker", "inspect", "--format", "{{.Image}}", container_of("redis")).strip()
    flags = ["--network", "none", "--user", "0:0", "--entrypoint", "redis-server", "-v", "/root/e2e-digest:/data"]
    words = ["--enable-debug-command", "yes", "--dir", "/data", "--save", "", "--appendonly", "no"]
    inside("docker", "run", "-d", "--name", SERVER, *flags, image, *words)
    try:
        ask = f"docker exec {SERVER} redis-cli INFO persistence | grep -c ^loading:0 || true"
        wait_until("the server to have loaded", lambda: inside("sh", "-c", ask).strip() == "1")
        return inside("docker", "exec", SERVER, "redis-cli", "DEBUG", "DIGEST").strip()
    finally:
        inside("docker", "rm", "-f", "-v", SERVER)
        inside("rm", "-rf", "/root/e2e-digest")


def fetched() -> bytes:
    """All that the live server has, as it hands it to a replica."""
    redis("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    fetch = f"{SECRET} redis-cli --rdb /tmp/e2e.rdb >/dev/null 2>&1 && cat /tmp/e2e.rdb; rm -f /tmp/e2e.rdb"
    return raw("redis", fetch)


def everything() -> dict[str, object]:
    """All that the live server has: as a digest, and what that does not see."""
    about = {number: redis("-n", str(number), "EVAL", ABOUT, "0") for number in range(4)}
    functions = sorted(redis("FUNCTION", "LIST", "WITHCODE").splitlines())
    users = sorted(redis("ACL", "LIST").splitlines())
    assert users
    return {"digest": digest(fetched()), "about": about, "functions": functions, "users": users}


def restarted() -> None:
    inside("docker", "restart", container_of("redis"))
    wait_until("redis to serve", lambda: "\nloading:0" in redis("INFO", "persistence"))


@pytest.fixture(scope="module")
def story(project: Project, deployed: object) -> Iterator[Project]:
    redis("FLUSHALL")
    redis("FUNCTION", "FLUSH")
    yield project
    redis("FLUSHALL")
    redis("FUNCTION", "FLUSH")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/*")


def test_every_type_in_every_database_is_the_same_after_a_restore_and_after_a_restart(story: Project) -> None:
    filled()
    before = everything()
    assert before["digest"] != NOTHING
    story.fab("backup.redis", "-H", "lab")
    row = listed(story, "redis")[0]
    kept = inside("cat", f"{row['path']}/manifest.json")
    assert set(json.loads(kept)["databases"]) == {"0", "1", "3"}
    redis("FLUSHALL")
    redis("FUNCTION", "FLUSH")
    redis("-n", "2", "SET", "later", "1")
    later = everything()
    story.fab("restore.redis", "-H", "lab", "--file", "latest", "--yes")
    assert everything() == before
    restarted()
    assert everything() == before
    story.fab("restore.undo", "-H", "lab", "--kind", "redis", "--yes")
    assert everything() == later
    restarted()
    assert everything() == later
    settled()


def test_with_nothing_in_it_redis_is_backed_up_and_restored_empty(story: Project) -> None:
    redis("FLUSHALL")
    before = everything()
    assert before["digest"] == NOTHING
    story.fab("backup.redis", "-H", "lab")
    redis("SET", "something", "1")
    story.fab("restore.redis", "-H", "lab", "--file", "latest", "--yes")
    assert everything() == before
    restarted()
    assert everything() == before
    settled()
