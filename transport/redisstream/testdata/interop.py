"""What another program does with the streams of typedbus, as docs/wire-format.md says. Started by interop_test.go.

usage: interop.py HOST PORT publish STREAM       reads a JSON list of {field: base64} from stdin and adds the entries
       interop.py HOST PORT consume STREAM N     reads N entries in a group of its own, writes them in the same form
"""

import base64
import json
import sys

import redis


def publish(r, stream):
    for entry in json.load(sys.stdin):
        r.xadd(stream, {field: base64.b64decode(value) for field, value in entry.items()})


def consume(r, stream, n):
    group = "interop"
    try:
        r.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as e:
        if not str(e).startswith("BUSYGROUP"):
            raise
    entries = []
    while len(entries) < n:
        for _, got in r.xreadgroup(group, "worker-1", {stream: ">"}, count=10, block=5000) or sys.exit("nothing came"):
            for entry_id, fields in got:
                entries.append({f.decode(): base64.b64encode(v).decode() for f, v in fields.items()})
                if r.xack(stream, group, entry_id) != 1:
                    sys.exit("was not pending")
    json.dump(entries, sys.stdout)


def main(host, port, what, stream, *rest):
    r = redis.Redis(host=host, port=int(port))
    if what == "publish":
        publish(r, stream)
    else:
        consume(r, stream, int(rest[0]))


main(*sys.argv[1:])
