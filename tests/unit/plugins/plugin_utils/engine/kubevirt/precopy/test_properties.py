# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every copy: memory is conserved, steps don't matter, shares fit their links, more bandwidth never hurts an idle guest."""
from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.precopy import (
    Copy,
    Guest,
    Network,
    Pattern,
    Phase,
    Settings,
    Writer,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.precopy.network import Flow, max_min_shares

sizes = st.floats(1, 4096)
guests = st.builds(
    lambda memory, nonzero, working, rate, pattern, writer: Guest(memory, nonzero * memory, working * nonzero * memory, rate, pattern, writer),
    sizes, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1000), st.sampled_from(Pattern), st.sampled_from(Writer),
)  # fmt: skip
channels = st.builds(
    Settings, bandwidth=st.sampled_from([0.0, 8.0, 32.0, 64.0, 512.0]), raw=st.floats(20, 2000), downtime_limit=st.sampled_from([0.03, 0.3, 1.0]),
    auto_converge=st.booleans(), tls=st.booleans(), multifd=st.sampled_from([0, 2, 8]),
)  # fmt: skip
moments = st.lists(st.floats(0, 120), max_size=6).map(sorted)


def _state(copy: Copy) -> tuple[object, ...]:
    return copy.phase, copy.iterations, round(copy.sent, 4), round(copy.unsent, 4), round(copy.zero, 4), round(min(copy.ended, 1e9), 5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(guests, channels, moments)
def test_in_pieces_as_at_once(guest: Guest, channel: Settings, stops: list[float]) -> None:
    whole, pieces = Copy(guest, channel), Copy(guest, channel)
    whole.advance(120)
    for moment in stops:
        pieces.advance(moment)
        pieces.progress(moment + 1)
    pieces.advance(120)
    assert _state(whole) == _state(pieces)


@settings(max_examples=60, deadline=None)
@given(guests, channels, st.lists(st.tuples(st.floats(0, 60), st.floats(0, 700), st.booleans()), max_size=5).map(sorted))
def test_memory_is_conserved(guest: Guest, channel: Settings, changes: list[tuple[float, float, bool]]) -> None:
    copy = Copy(guest, channel)
    for moment, share, paused in changes:
        copy.set_share(share, moment)
        copy.pause(moment, paused)
        assert math.isclose(guest.nonzero + copy.dirtied, copy.sent + copy.unsent, rel_tol=1e-6, abs_tol=1e-6)
        assert 0 <= copy.unsent <= guest.occupied + 1e-6
    copy.advance(90)
    assert math.isclose(guest.nonzero + copy.dirtied, copy.sent + copy.unsent, rel_tol=1e-6, abs_tol=1e-6)
    if copy.phase is Phase.COMPLETED:
        assert copy.unsent == copy.zero == 0.0


@given(st.floats(1, 4096), st.floats(0, 1), st.floats(8, 900), st.floats(0.1, 900))
def test_an_idle_guest_moves_no_slower_over_a_wider_channel(memory: float, share: float, narrow: float, more: float) -> None:
    ends = []
    for bandwidth in (narrow, narrow + more):
        copy = Copy(Guest(memory, memory * share), Settings(bandwidth=bandwidth, downtime_limit=0.0))
        copy.advance(3600)
        ends.append(copy.ended)
    # The last window may be cut off where the narrow channel's was just not.
    assert ends[1] <= ends[0] + 0.1


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=3),
        st.builds(Flow, st.floats(0, 2000), st.lists(st.sampled_from("wxyz"), min_size=1, max_size=3, unique=True).map(tuple)),
        max_size=8,
    ),
    st.fixed_dictionaries({link: st.floats(1, 1500) for link in "wxyz"}),
)
def test_shares_are_max_min_fair(flows: dict[str, Flow], capacity: dict[str, float]) -> None:
    shares = max_min_shares(flows, capacity.__getitem__)
    used = {link: sum(shares[name] for name, flow in flows.items() if link in flow.links) for link in capacity}
    assert set(shares) == set(flows)
    assert all(amount <= capacity[link] * (1 + 1e-6) + 1e-6 for link, amount in used.items())
    for name, flow in flows.items():
        assert shares[name] <= flow.demand + 1e-6
        if shares[name] < flow.demand - 1e-5:
            # Held back by a full link on which nobody has more.
            full = [link for link in flow.links if used[link] >= capacity[link] - 1e-4]
            assert any(all(shares[other] <= shares[name] + 1e-4 for other in flows if link in flows[other].links) for link in full)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(guests, channels, st.floats(0, 20), st.sampled_from([("a", "x"), ("a", "y"), ("b", "x")])), min_size=1, max_size=4), moments)
def test_a_network_in_pieces_as_at_once(begun: list[tuple[Guest, Settings, float, tuple[str, str]]], stops: list[float]) -> None:
    ends = []
    for dummy_run, looks in ((0, []), (1, stops)):
        network: Network[str] = Network(lambda dummy: 100.0)
        copies = []
        looks = [*looks]
        for number, (guest, channel, moment, links) in enumerate(sorted(begun, key=lambda entry: entry[2])):
            while looks and looks[0] <= moment:
                network.advance(looks.pop(0))
            copies.append(Copy(guest, channel, moment))
            network.add(str(number), copies[-1], links, moment)
        for moment in looks:
            network.advance(max(moment, network.now))
        network.advance(150)
        assert [network.get(str(number)) for number in range(len(copies))] == copies
        ends.append([_state(copy)[:2] + _state(copy)[5:] for copy in copies])
    assert ends[0] == ends[1]


paths = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))
arrivals = st.lists(st.tuples(guests, channels, st.floats(0, 30), paths, st.booleans()), max_size=12)


@settings(max_examples=100, deadline=None)
@given(arrivals, st.fixed_dictionaries({link: st.sampled_from([50.0, 100.0, 400.0, 1200.0, 9000.0]) for link in "abcxyz"}))
def test_shares_are_those_of_all_together(begun: list[tuple[Guest, Settings, float, tuple[str, str], bool]], capacity: dict[str, float]) -> None:
    """Only those are shared out anew whose share hangs on what has changed: it comes to the same."""
    network: Network[str] = Network(capacity.__getitem__)
    there: dict[str, tuple[Copy, tuple[str, str]]] = {}
    for number, (guest, channel, moment, links, leaves) in enumerate(sorted(begun, key=lambda entry: entry[2])):
        copy = Copy(guest, channel, moment)
        there[str(number)] = copy, links
        network.add(str(number), copy, links, moment)
        if leaves:
            gone = next(iter(there))
            del there[gone]
            network.remove(gone, moment)
        flows = {name: Flow(one.demand, taken) for name, (one, taken) in there.items()}
        for name, share in max_min_shares(flows, capacity.__getitem__).items():
            assert flows[name].demand <= 0.0 or math.isclose(there[name][0].share, share, rel_tol=1e-6, abs_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(guests, st.floats(20, 600))
def test_a_narrow_link_does_what_a_slow_sender_does(guest: Guest, speed: float) -> None:
    alone = Copy(guest, Settings(raw=speed))
    alone.advance(120)
    network: Network[str] = Network(lambda _link: speed)
    network.add("one", Copy(guest, Settings(raw=650.0)), ("link",), 0.0)
    network.advance(120)
    shared = network.get("one")
    assert isinstance(shared, Copy)
    assert (shared.phase, shared.iterations) == (alone.phase, alone.iterations)
    assert math.isclose(shared.sent, alone.sent, rel_tol=1e-6, abs_tol=0.01)


def _literal(guest: Guest, channel: Settings, limit: float) -> float:
    """The rules step by step: every window and every iteration. Auto-converge and TLS left out. When it ends, or infinity."""
    now, synced, unsent, zero, first = channel.set_up, 0.0, guest.nonzero, guest.memory - guest.occupied, True
    window_end, budget = now + 0.1, channel.cap * 0.1
    threshold = min(channel.cap, channel.speed) * channel.downtime_limit
    while now < limit:
        if unsent + zero <= 0 or unsent + zero < threshold:
            unsent = guest.merged(unsent, guest.distinct(guest.dirty_rate * (now - synced)), first)
            synced, first = now, False
            if unsent + zero <= 0 or unsent + zero < threshold:
                return now + 0.003 + unsent / channel.stopped_speed + zero * 0.00018
            now, zero = now + zero * 0.00018, 0.0
        if now >= window_end - 1e-9:
            window_end, budget = now + 0.1, channel.cap * 0.1
        if unsent > 0 and budget <= 1e-9:
            now = window_end
        elif unsent > 0:
            sent = min(unsent, budget, 0.05 * channel.speed)
            now, unsent, budget = now + sent / channel.speed, unsent - sent, budget - sent
        else:
            scanned = min(zero, 0.05 / 0.00018)
            now, zero = now + scanned * 0.00018, zero - scanned
    return math.inf


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(64, 2048), st.floats(0.1, 1), st.floats(0, 0.5), st.sampled_from([0.0, 8.0, 40.0, 90.0]), st.sampled_from([0.0, 24.0, 50.0]))
def test_pieces_are_the_rules_step_by_step(memory: float, nonzero: float, working: float, rate: float, bandwidth: float) -> None:
    guest, channel = Guest(memory, nonzero * memory, working * nonzero * memory, rate), Settings(bandwidth=bandwidth)
    copy = Copy(guest, channel)
    copy.advance(200)
    expected = _literal(guest, channel, 200)
    # A sum of many small numbers and their product may fall on two sides of a threshold: that is a window.
    assert math.isclose(min(copy.ended, 250), min(expected, 250), rel_tol=0.002, abs_tol=0.15)


def test_a_copy_goes_on_however_late_it_is() -> None:
    """Rounding far from the beginning must not leave steps that take no time."""
    for began in (0.0, 1e6, 1e8):
        copy = Copy(Guest(8192, 4000, 30, 700), Settings(bandwidth=1, downtime_limit=0.0, auto_converge=True), began)
        for minute in range(700):
            copy.advance(began + 60 * minute)
        assert copy.phase is Phase.ACTIVE
        assert math.isclose(copy.sent, 60 * 699 * 2.05, rel_tol=0.01)
