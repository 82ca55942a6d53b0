"""Thousands of small files: requests sent ahead on a few connections, landed in batches.

Decisions this module takes:

- It only delivers.  Whatever is not a plain 200 of the right length and digest leaves its item to
  the ordinary way, which finds out why and whom to blame.
- A host is first asked for one item the ordinary way; the connection that was checked and proved
  plain by that is the one that requests are sent ahead on.
- Without a digest nobody could tell an answer that came out of turn: then one at a time.
- A host that closes a connection after so many answers is asked on, on another one.  One that
  does so at once, falls silent, redirects or fails again and again is left to the ordinary way.
- One that says that we ask too much is asked nothing more, and what it says of how long to wait
  holds for the ordinary way.  So that it need not say so to many requests at once, as many are sent
  ahead as it answered well before, and one more.
- Connections are added only while the processor is idle: to a near host one is the fastest, since
  two threads mostly wait for each other (9,500 files a second with one, 7,000 with two).
"""

import threading
import time
from collections.abc import Sequence
from functools import partial

from fleet.messages import Item, ItemResult
from workers.pull.answers import Part, judge
from workers.pull.faults import Again, Bad, Fault, Local, Passing
from workers.pull.pace import Gone
from workers.pull.quick.delivery import Delivered, Delivery
from workers.pull.quick.hosts import Host, by_host
from workers.pull.quick.pipeline import AHEAD, AHEAD_BYTES, READ, Pipeline
from workers.pull.run import Run
from workers.pull.web import Answer
from workers.pull.web.heads import Odd
from workers.pull.web.line import Line, Place
from workers.quotas import Stream

LEAST = 8  # items of one host; fewer are not worth it
MOST_LINES = 4  # of one host
LOOK_SECONDS = 0.1


def quick(run: Run, items: Sequence[Item], delivered: Delivered) -> list[Item]:
    """Bring small items to their places, as far as that goes without trouble.

    Args:
        run: the attempt; its budget and lease hold for this too.
        items: what nobody else works on now.
        delivered: called, from any thread, for each item that is in its place, durably.

    Returns:
        The items that are left to the ordinary way, in their order.

    Raises:
        Stopped: the centre wants the attempt to end; what was proved is in its place.
    """
    done: set[int] = set()

    def landed(item: Item, result: ItemResult) -> None:
        done.add(id(item))
        delivered(item, result)

    try:
        hosts = [host for host in by_host(run, items) if len(host.todo) >= LEAST]
        if hosts:
            with run.storage.scratch() as folder:
                try:
                    _Quick(run, hosts, Delivery(run, folder, landed)).go()
                finally:
                    run.landing.flush()
    except OSError:
        pass  # this host's trouble is met again, and told, the ordinary way
    return [item for item in items if id(item) not in done]


class _Quick:
    """The threads, each with one connection at a time."""

    def __init__(self, run: Run, hosts: Sequence[Host], delivery: Delivery) -> None:
        self._run = run
        self._hosts = hosts
        self._delivery = delivery
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._wanted = 1
        self._busy = (time.monotonic(), time.process_time())
        self._over = False
        self._error: BaseException | None = None

    def go(self) -> None:
        """Work until nothing is left to be asked, or this host cannot go on.

        Raises:
            Stopped: the centre wants the attempt to end.
        """
        try:
            with self._changed:
                while self._start() or self._running:
                    self._changed.wait(LOOK_SECONDS)
                    self._run.lease.check()
                    self._raise()
        except BaseException:
            self._over = True
            self._run.web.cut()
            raise
        finally:
            for thread in self._threads:
                thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _gone(self, stream: Stream | None = None) -> bool:
        """Whether nobody need wait any more, or whoever holds this stream has to give it back."""
        return self._over or (stream is not None and self._run.pace.ends(stream))

    @property
    def _allowed(self) -> int:
        return min(self._wanted, self._run.lease.budget.streams)

    def _start(self) -> bool:
        """Start the threads that are worth it now; say whether any was."""
        now, used = time.monotonic(), time.process_time()
        since, before = self._busy
        if now - since >= LOOK_SECONDS:
            self._busy = (now, used)
            self._wanted += used - before < (now - since) / 2
        started = False
        while not self._over and self._running < self._allowed and (host := self._next_host()):
            host.lines += 1
            self._running += 1
            thread = threading.Thread(target=self._work, name="quick", args=(host,), daemon=True)
            self._threads.append(thread)
            thread.start()
            started = True
        return started

    def _next_host(self) -> Host | None:
        pace = self._run.pace
        fit = [
            host
            for host in self._hosts
            if host.open and host.lines < MOST_LINES and pace.open(host.tally.host)
        ]
        return min(fit, key=lambda host: host.lines, default=None)

    def _work(self, host: Host | None) -> None:
        """Talk to one host after another, as long as one more thread is wanted."""
        while host is not None:
            try:
                with (
                    self._run.pace.stream(host.tally.host, self._gone) as stream,
                    host.tally.request(),
                ):
                    stream.asked = True
                    stream.asked = not self._talk(host, partial(self._gone, stream))
            except Again:  # it is over, or was before anything was asked
                pass
            except Local:
                self._over = True
            except BaseException as error:  # noqa: BLE001 - `go` raises it
                self._over, self._error = True, error
            with self._changed:
                host.lines -= 1
                stay = not self._over and self._running <= self._allowed
                host = self._next_host() if stay else None
                if host is None:
                    self._running -= 1
                    self._changed.notify_all()
                else:
                    host.lines += 1

    def _talk(self, host: Host, gone: Gone) -> bool:
        """Ask a host on one connection, until that ends, nothing is left or we are ``gone``.

        Returns:
            Whether all that was asked is answered.
        """
        opened = self._open(host, gone)
        if opened is None:
            return False
        place, line, pipeline = opened
        answered = False
        try:
            self._flow(host, pipeline, gone)
        except Again:
            if pipeline.usable:
                self._run.web.give_back(place, line)
                return True
        except TimeoutError:
            host.given_up = True
        except Odd:
            if pipeline.waiting:
                pipeline.waiting.popleft()
            host.failed()
        except OSError:
            host.closed(pipeline.answers)
        else:
            answered = not pipeline.waiting
            if pipeline.usable and pipeline.answers < host.most:
                self._run.web.give_back(place, line)
                return True
            host.closed(pipeline.answers)
        finally:
            host.put_back(pipeline.waiting)
        line.close()
        return answered

    def _open(self, host: Host, gone: Gone) -> tuple[Place, Line, Pipeline] | None:
        """Ask for one item the ordinary way; borrow the connection if that proved it plain."""
        ask = host.next()
        if ask is None:
            return None
        status, waits = 0, list[float]()
        try:
            self._turn(host, gone)
            began = time.monotonic()
            answer = self._run.web.get(ask.source, {}, partial(self._hop, host, waits, gone))
            status = answer.status
            host.tally.heard(time.monotonic() - began - sum(waits))
            try:
                judge(status, answer.headers, self._delivery.wanted(host, ask), Part())
                body = self._read(host, answer, ask.size, gone)
            finally:
                answer.close()
            self._delivery.take(host, ask, body)
            self._count(host, 0, ask.size)
        except Again:
            host.put_back([ask])
            raise
        except Bad as fault:
            self._refused(host, status, fault)
            return None
        except Local:
            raise
        except TimeoutError:
            host.given_up = True
            return None
        except Passing as fault:
            self._refused(host, status, fault)
            host.closed(0)
            return None
        except (Fault, OSError):
            host.closed(0)
            return None
        call = self._run.web.call(ask.source, {})
        if answer.host != call.host:
            host.given_up = True
            return None
        line = self._run.web.borrow(call.place)
        if line is None:
            host.closed(0)
            return None
        return call.place, line, Pipeline(line, call.message.partition(b"\r\n")[2])

    def _flow(self, host: Host, pipeline: Pipeline, gone: Gone) -> None:
        """Send requests and take answers, as long as there is something to ask.

        Raises:
            Again: we are ``gone``.
            TimeoutError: an answer took longer than our patience lasts.
            Odd: it makes no sense.
            OSError: the connection ended.
        """
        patience = self._run.settings.stall_seconds
        since = time.monotonic()
        while not pipeline.ending:
            since += self._send(host, pipeline, gone)
            if not pipeline.waiting:
                return
            since += self._receive(host, pipeline, gone)
            since = self._take_answers(host, pipeline) or since
            if time.monotonic() - since > patience:
                raise TimeoutError("too slow")

    def _take_answers(self, host: Host, pipeline: Pipeline) -> float | None:
        """Deliver what came whole; give the time of the last of that."""
        got = good = 0
        last = None
        try:
            for ask, head, body in pipeline.whole():
                last = time.monotonic()
                got += len(body)
                try:
                    self._delivery.judge(host, ask, head, body)
                except (Bad, Passing) as fault:
                    self._refused(host, head.status, fault)
                else:
                    good += len(body)
        finally:
            self._count(host, got, good)
        return last

    def _hop(self, host: Host, waits: list[float], gone: Gone, target: str) -> None:
        """Wait for the turn of a request that ``host`` redirects to; that is not its slowness."""
        began = time.monotonic()
        self._run.pace.request(target, gone)
        waits.append(self._waited(host, began))

    def _turn(self, host: Host, gone: Gone) -> float:
        """Wait until a request may be sent; give the seconds that this took."""
        began = time.monotonic()
        self._run.pace.request(host.tally.host, gone)
        return self._waited(host, began)

    def _waited(self, host: Host, began: float) -> float:
        """Leave a wait of our own out of the host's time; give its seconds."""
        waited = time.monotonic() - began
        if waited > LOOK_SECONDS:
            host.tally.waited(waited)
        return waited

    def _send(self, host: Host, pipeline: Pipeline, gone: Gone) -> float:
        """Send what may be sent now, nothing once this thread is one too many.

        Returns:
            The seconds that we waited for our turn.
        """
        if self._over or self._running > self._allowed:
            return 0.0
        budget = self._run.lease.budget
        serial = not host.proven or self._run.pace.limits_requests(host.tally.host)
        rates = [AHEAD_BYTES, budget.bytes_per_second, budget.source_bytes_per_second]
        asks = pipeline.choose(
            host.next,
            min(1 if serial else AHEAD, host.good + 1, host.most - pipeline.answers),
            max(1, min(rate for rate in rates if rate is not None)),
        )
        if not asks:
            return 0.0
        try:
            waited = self._turn(host, gone)  # it is one, where a rate is set
        except Again:
            host.put_back(asks)
            raise
        host.tally.asked(len(asks))
        pipeline.send(asks)
        return waited

    def _receive(self, host: Host, pipeline: Pipeline, gone: Gone) -> float:
        """Read what the budget allows; give the seconds that we waited for that."""
        began = time.monotonic()
        allowed, came = self._run.pace.take(host.tally.host, READ, gone), 0
        waited = self._waited(host, began)
        try:
            came = pipeline.receive(allowed)
        finally:
            self._run.pace.give_back(host.tally.host, allowed - came)
        return waited

    def _refused(self, host: Host, status: int, fault: Fault) -> None:
        """Take an answer of no use; who says that we ask too much is heard by all."""
        self._run.pace.strained(host.tally, fault)
        host.refused(status, fault)

    def _count(self, host: Host, got: int, good: int) -> None:
        """Count bytes that came, and those that are held."""
        host.tally.came(got)
        with self._run.changed:
            self._run.lease.advance(good)

    def _read(self, host: Host, answer: Answer, size: int, gone: Gone) -> memoryview:
        """Read the body of an answer that was judged to have ``size`` bytes."""
        view, at = memoryview(bytearray(size)), 0
        while at < size:
            allowed = self._run.pace.take(host.tally.host, min(READ, size - at), gone)
            came = answer.readinto(view[at : at + allowed])
            self._run.pace.give_back(host.tally.host, allowed - came)
            if not came:
                raise ConnectionError("ended too soon")
            at += came
            host.tally.came(came)
        if answer.readinto(memoryview(bytearray(1))):
            raise Bad(f"{host.tally.host}: sends more than the {size} bytes expected")
        return view
