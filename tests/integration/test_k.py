import time
from tasks.core.command import Command
from tests.bench.proxy import DelayProxy
from tests.integration.test_distance import far
def test_k(session, server):
    t=time.time(); session.run(Command("true")); print("first", time.time()-t)
    ts=[]
    for i in range(20):
        t=time.time(); session.run(Command("true")); ts.append(time.time()-t)
    ts.sort(); print("loopback", ts[10], ts[0])
    ts=[]
    tr=session.open().transport
    for cmd in ("true","sh -c true", "exec sh -c 'exit 0'", "exec sh -c 'printf x $$; exit 0'"):
      ts=[]
      for i in range(20):
        t=time.time(); c=tr.open_session(); c.exec_command(cmd); c.recv_exit_status(); c.close(); ts.append(time.time()-t)
      ts.sort(); print("paramiko", cmd, ts[10], ts[0])
    import cProfile
    p=cProfile.Profile(); p.enable()
    for i in range(10): session.run(Command("true"))
    p.disable()
    import pstats; pstats.Stats(p).sort_stats("tottime").print_stats(12)
def test_f(far, connect):
    s=connect()
    t=time.time(); s.run(Command("true")); print("first", time.time()-t, far.counts)
    ts=[]
    for i in range(10):
        b=far.counts.turns,far.counts.round_trips
        t=time.time(); s.run(Command("true")); ts.append(time.time()-t)
        time.sleep(.2)
        print(far.counts.turns-b[0],far.counts.round_trips-b[1])
    ts.sort(); print("far", ts[5])
