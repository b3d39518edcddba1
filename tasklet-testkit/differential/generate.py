"""Writes random programs with the event logs that a model of the Stackless rules gives for them.

    python3 generate.py MODEL.py OUTPUT_FOLDER [--count N] [--only THEME]

MODEL.py is the executable model of rules R1-R66 (it needs greenlet); it is loaded from the path given. The README beside this
file says what the programs look like and which corners of the rules they keep out of.
"""
import argparse
import importlib.util
import os
import pathlib
import random

OPERATION_LIMIT = 300          # of one run of a program; more is a loop of tasklets that spawn each other
LONG_OPERATION_LIMIT = 4000

# Weights of operations, by theme. A theme becomes one file.
RING = {"schedule": 6, "schedule_remove": 3, "spawn": 4, "bind": 1, "insert": 3, "remove": 3, "run_to": 3, "switch": 2,
        "queue": 1, "state": 1}
CHANNEL = {"send": 7, "recv": 7, "prefer": 1, "schedule_all": 1}
CLOSE = {"close": 2, "reopen": 1}
THROW = {"kill": 2, "kill_later": 2, "throw": 2, "throw_later": 2, "send_throw": 2}
TRAP = {"block_trap": 3, "switch_trap": 4}
NEST = {"run": 3}
BUDGET = {"tick": 12, "budget": 4, "atomic": 1, "run": 1}
THEMES = {
    "ring": [RING],
    "channels": [CHANNEL, {"schedule": 2, "spawn": 2, "state": 1}],
    "closing": [CHANNEL, CLOSE, {"schedule": 2, "spawn": 1, "kill": 1, "run_to": 1}],
    "throws": [THROW, CHANNEL, {"schedule": 4, "spawn": 2, "remove": 1, "insert": 1, "run": 1, "handler": 1}],
    "nested": [NEST, RING, {"send": 2, "recv": 2, "throw": 1, "kill": 1, "throw_later": 1}],
    "traps": [TRAP, RING, CHANNEL, {"kill": 1, "throw": 1, "run": 1, "close": 1}],
    "budgets": [BUDGET, {"schedule": 4, "spawn": 2, "insert": 2, "send": 2, "recv": 2, "run_to": 1, "remove": 1}],
    "budgets_nested": [BUDGET, NEST, RING, THROW, CHANNEL],
    "everything": [RING, CHANNEL, CLOSE, THROW, TRAP, NEST, BUDGET, {"handler": 1}],
    "long": [RING, CHANNEL, CHANNEL, CLOSE, THROW, TRAP, NEST, BUDGET, {"handler": 1}],
}
LEAKED = []                    # machines with suspended greenlets: collecting those would run their tasklets


def load_model(path):
    spec = importlib.util.spec_from_file_location("model", path)
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    return model


# ---- programs ------------------------------------------------------------------------------------------------------------

class Program:
    """Channels as (preference, schedule_all); scripts as {name: (mode, [operation])}, the main one named m."""

    def __init__(self, theme, seed):
        rng = self.rng = random.Random(f"{theme} {seed}")
        self.name, self.theme, self.long = f"{theme}-{seed}", theme, theme == "long"
        self.weights = {}
        for table in THEMES[theme]:
            for op, weight in table.items():
                self.weights[op] = self.weights.get(op, 0) + weight
        self.channels = [(rng.choice([-1, -1, 0, 1]), rng.random() < 0.15) for _ in range(rng.randint(1, 3))]
        self.tasklets = "abcdefghijkl"[:rng.randint(8, 12) if self.long else rng.randint(2, 5)]
        self.observed = rng.random() < 0.2
        modes = ["catch", "catch", "escape", "catchall"]
        self.scripts = {}
        for name in self.tasklets:
            length = rng.randint(20, 40) if self.long else rng.randint(2, 7)
            self.scripts[name] = (rng.choice(modes), self.operations(length))
        ops = []
        for name in self.tasklets:
            if rng.random() < 0.85:
                ops.append(f"spawn {name}" if rng.random() < 0.85 else f"bind {name}")
        if "handler" in self.weights and rng.random() < 0.3:
            ops.append(f"handler {rng.choice(['eat', 'fail'])}")
        body = self.operations(rng.randint(40, 60) if self.long else rng.randint(4, 10))
        for i in range(rng.randint(1, 4)):
            body.insert(rng.randrange(len(body) + 1), self.run_operation())
        self.scripts["m"] = ("catchall", ops + body + ["run", "run"])

    def run_operation(self):
        if "budget" in self.weights and self.rng.random() < 0.8:
            return self.operation("budget")
        return "run"

    def operations(self, length):
        ops = []
        names, weights = list(self.weights), list(self.weights.values())
        while len(ops) < length:
            op = self.rng.choices(names, weights)[0]
            if op in ("block_trap", "switch_trap", "atomic"):
                inside = [self.operation(self.rng.choices(names, weights)[0]) for _ in range(self.rng.randint(1, 3))]
                ops += [f"{op} on", *inside, f"{op} off"]
            else:
                ops.append(self.operation(op))
        return ops

    def operation(self, op):
        rng = self.rng
        channel, number = rng.randrange(len(self.channels)), rng.randint(0, 9)
        # Others act on the main tasklet now and then.
        target = "m" if rng.random() < 0.08 else rng.choice(self.tasklets)
        if op in ("schedule", "schedule_remove", "queue", "run"):
            return op
        if op in ("send", "send_throw"):
            return f"{op} {channel} {number}"
        if op in ("recv", "close", "reopen"):
            return f"{op} {channel}"
        if op == "prefer":
            return f"prefer {channel} {rng.choice([-1, 0, 1])}"
        if op == "schedule_all":
            return f"schedule_all {channel} {rng.choice(['on', 'off', 'off'])}"
        if op in ("block_trap", "switch_trap", "atomic"):
            return f"{op} {rng.choice(['on', 'off'])}"
        if op in ("spawn", "bind"):
            return f"{op} {rng.choice(self.tasklets)}"
        if op in ("throw", "throw_later"):
            return f"{op} {target} {number}"
        if op == "tick":
            return f"tick {rng.choice([1, 3, 5, 8, 13, 30])}"
        if op == "budget":
            return f"budget {rng.choice(['slice', 'total'])} {rng.choice(['soft', 'hard'])} {rng.choice([2, 5, 10, 20])}"
        if op == "handler":
            return f"handler {rng.choice(['none', 'eat', 'fail'])}"
        return f"{op} {target}"        # insert, remove, run_to, switch, kill, kill_later, state

    def text(self, log):
        lines = [f"program {self.name}"]
        lines.append(" ".join(["channels", *(f"{p}{'+' if a else ''}" for p, a in self.channels)]))
        if self.observed:
            lines.append("observe channels")
        for name, (mode, ops) in self.scripts.items():
            lines += [f"script {name} {mode}", *ops]
        return "\n".join([*lines, "log", log, ""])


# ---- running them on the model -----------------------------------------------------------------------------------------

class Thrown(Exception):
    pass


def make_machine(model):
    class Machine(model.VM):
        """The model, with what the README beside this file says about corners."""
        outcome = "idle"
        undefined = None       # the corner the program came to that the rules leave open

        def run(self, timeout=0, **flags):
            if self.switch_trap and self.runcount > 1:
                raise RuntimeError("switch_trap")            # and the budget is not left in force
            return super().run(timeout, **flags)

        def task_block(self, prev):
            watchdog = self.watchdog()
            if watchdog.next is None and prev.blocked:
                return self.schedule_task(prev, watchdog)    # a message stays with its sender
            return super().task_block(prev)

        def soft_irq(self, prev, nxt, not_now):
            if prev.pending_irq and self.soft and prev is nxt and not_now and self.watchdog(True).next is not None:
                self.undefined = "an exchange without a switch, with the budget's owner queued"
            return super().soft_irq(prev, nxt, not_now)

        def unwind(self, me, intr, old):
            if me in self.watchdogs[1:]:
                deeper = self.watchdogs[self.watchdogs.index(me, 1) + 1:]
                if self.watchdogs[0] in deeper:
                    self.undefined = "a budget whose owner is popped by an outer run"
            super().unwind(me, intr, old)

        def interrupted_take(self, soft):
            interrupted = self.interrupted
            victim = super().interrupted_take(soft)
            if victim is not None:
                self.outcome = f"victim:{victim}"
            elif interrupted is not None:
                self.outcome = "budget"
            else:
                self.outcome = "idle" if self.runcount == 1 else "woken"
            return victim

    return Machine()


class Runner:
    def __init__(self, model, program):
        self.model, self.program = model, program
        self.vm = vm = make_machine(model)
        LEAKED.append(self)
        vm.main.name = "m"
        self.events, self.lines, self.count = [], [], 0
        self.closing = False
        self.limit = LONG_OPERATION_LIMIT if program.long else OPERATION_LIMIT
        self.channels = [vm.channel(preference=p, schedule_all=a) for p, a in program.channels]
        self.tasklets = {name: vm.tasklet(lambda name=name: self.script(name), name=name) for name in program.tasklets}
        self.tasklets["m"] = vm.main
        vm.sched_cb = lambda prev, nxt: self.event(f"{prev}>{nxt}")
        if program.observed:
            vm.channel_cb = self.channel_event

    def event(self, text):
        if not self.closing:
            self.events.append(text)

    def channel_event(self, channel, tasklet, sending, blocks):
        self.event(f"c{self.channels.index(channel)}:{tasklet}{'s' if sending else 'r'}{'-' if blocks else '+'}")

    def execute(self):
        self.script("m")
        states = " ".join(f"{name}:{self.state(t)}" for name, t in self.tasklets.items())
        self.events.append(states)
        self.line()
        self.closing = True
        return "\n".join(self.lines)

    def line(self):
        self.lines.append(" ".join(self.events))
        self.events = []

    def queue(self):
        return "[" + ",".join(str(t) for t in self.vm.queue()) + "]"

    def state(self, t):
        flags = [("a", t.alive), ("p", t.paused), ("b", t.blocked), ("s", t.scheduled)]
        return "".join(letter for letter, is_set in flags if is_set) or "-"

    def kind(self, error):
        if isinstance(error, Thrown):
            return f"E{error.args[0]}"
        if isinstance(error, self.model.TaskletExit):
            return "exit"
        text = str(error)
        kinds = [("switch_trap", "switch_trap"), ("like to be blocked", "block_trap"), ("closed channel", "closed"),
                 ("Deadlock", "deadlock"), ("is receiving", "deserted"), ("is sending", "deserted"),
                 ("blocked tasklet", "blocked"), ("dead", "dead"), ("current tasklet", "current"), ("is alive", "alive")]
        if isinstance(error, (RuntimeError, ValueError)):
            for part, kind in kinds:
                if part in text:
                    return kind
        raise SystemExit(f"{self.program.name}: the generator is wrong: {error!r}") from error

    def script(self, name):
        mode, ops = self.program.scripts[name]
        guards = set()
        try:
            for index, op in enumerate(ops):
                if self.closing:
                    return
                self.count += 1
                if self.count > self.limit or self.vm.undefined:
                    self.closing = True
                    return
                error = None
                try:
                    result = self.operate(op, guards)
                except BaseException as e:
                    if self.vm.undefined:      # the model's lists may be in disorder
                        self.closing = True
                        return
                    error, result = e, self.kind(e)
                self.event(f"{name}{index}={result}")
                if name == "m":
                    self.event(self.queue() + ",".join(str(c.balance) for c in self.channels))
                    self.line()
                if error is not None and (mode == "escape" or mode == "catch" and result == "exit"):
                    raise error
            self.event(f"{name}.")
        finally:
            self.release(guards)

    def release(self, guards):
        if "switch_trap" in guards:
            self.vm.switch_trap -= 1
        if "atomic" in guards:
            self.vm.set_atomic(False)
        guards.clear()

    def operate(self, op, guards):
        vm, (verb, *args) = self.vm, op.split()
        if verb == "schedule":
            vm.schedule()
        elif verb == "schedule_remove":
            vm.schedule_remove()
        elif verb == "queue":
            return self.queue()
        elif verb == "tick":
            vm.tick(int(args[0]))
        elif verb == "run":
            vm.run()
            return vm.outcome
        elif verb == "budget":
            vm.run(int(args[2]), soft=args[1] == "soft", totaltimeout=args[0] == "total")
            return vm.outcome
        elif verb == "handler":
            vm.error_handler = {"none": None, "eat": self.eat, "fail": self.fail}[args[0]]
        elif verb == "block_trap":
            vm.current.block_trap = args[0] == "on"
        elif verb == "switch_trap":
            self.guard(guards, verb, args[0], lambda by: setattr(vm, "switch_trap", vm.switch_trap + by))
        elif verb == "atomic":
            self.guard(guards, verb, args[0], lambda by: vm.set_atomic(by > 0))
        elif verb in ("send", "recv", "send_throw", "close", "reopen", "prefer", "schedule_all"):
            return self.on_channel(verb, self.channels[int(args[0])], args[1:])
        else:
            return self.on_tasklet(verb, self.tasklets[args[0]], args[1:])
        return "ok"

    def guard(self, guards, name, switch, change):
        if switch == "on" and name not in guards:
            guards.add(name)
            change(1)
        elif switch == "off" and name in guards:
            guards.remove(name)
            change(-1)

    def on_channel(self, verb, channel, args):
        if verb == "recv":
            return f"v{channel.receive()}"
        if verb == "send":
            channel.send(int(args[0]))
        elif verb == "send_throw":
            me = self.vm.current
            try:
                channel.send_throw(Thrown(int(args[0])))
            finally:
                me.tempval = None          # a refused message is not kept
        elif verb == "close":
            channel.close()
        elif verb == "reopen":
            channel.open()
        elif verb == "prefer":
            channel.preference = int(args[0])
        else:
            channel.schedule_all = args[0] == "on"
        return "ok"

    def on_tasklet(self, verb, t, args):
        if verb == "state":
            return self.state(t)
        if verb in ("spawn", "bind"):
            if t.alive:
                raise RuntimeError("tasklet is alive")
            t.block_trap = t.atomic = t.pending_irq = False
            t.tempval = None
            t.setup() if verb == "spawn" else t.bind(None, ())
        elif verb == "insert":
            t.insert()
        elif verb == "remove":
            t.remove()
        elif verb == "run_to":
            t.run()
        elif verb == "switch":
            if t is not self.vm.current:
                t.switch()
        elif verb in ("kill", "kill_later"):
            t.kill(pending=verb == "kill_later")
        else:
            t.throw(Thrown(int(args[0])), pending=verb == "throw_later")
        return "ok"

    def eat(self, error):
        self.event(f"H{self.vm.current}:{self.kind(error)}")

    def fail(self, error):
        self.eat(error)
        raise Thrown(99)


def attempt(model, theme, seed):
    """The program of this seed as text, or None if it is not worth keeping."""
    program = Program(theme, seed)
    runner = Runner(model, program)
    log = runner.execute()
    if runner.vm.undefined or runner.count > runner.limit:
        return None
    switches = log.count(">")
    if switches < (60 if program.long else 6) or (not program.long and len(log) > 2500):
        return None
    return program.text(log)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=48, help="programs of each theme; a tenth of it for the long ones")
    parser.add_argument("--only", choices=list(THEMES))
    options = parser.parse_args()
    model = load_model(options.model)
    for theme in [options.only] if options.only else THEMES:
        wanted = max(options.count // 10, 1) if theme == "long" else options.count
        texts, seed = [], 0
        while len(texts) < wanted:
            text = attempt(model, theme, seed)
            seed += 1
            if text is not None:
                texts.append(text)
        path = options.output / f"{theme}.txt"
        path.write_text("\n".join(texts))
        print(f"{path.name}: {len(texts)} of {seed} seeds, {path.stat().st_size} bytes", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
