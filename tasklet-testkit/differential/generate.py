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
import sys

from run_on_model import Runner

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
# Seeds whose programs have found a mistake in the scheduler: always among those written.
FINDS = {"throws": [65, 134, 193, 613], "nested": [166], "traps": [45], "budgets": [83, 443, 460, 461, 527],
         "budgets_nested": [103, 133], "everything": [576, 752], "long": [0, 2]}


def load_model(path):
    spec = importlib.util.spec_from_file_location("model", path)
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    return model


# ---- programs

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
    sys.setrecursionlimit(100_000)     # a greenlet begins at the depth of the one that starts it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=48, help="programs of each theme; a tenth of it for the long ones")
    parser.add_argument("--only", choices=list(THEMES))
    options = parser.parse_args()
    model = load_model(options.model)
    for theme in [options.only] if options.only else THEMES:
        wanted = max(options.count // 10, 1) if theme == "long" else options.count
        kept, seed = {}, 0
        while len(kept) < wanted:
            kept[seed] = attempt(model, theme, seed)
            if kept[seed] is None:
                del kept[seed]
            seed += 1
        for find in FINDS.get(theme, []):
            if find not in kept:
                kept[find] = attempt(model, theme, find)
        path = options.output / f"{theme}.txt"
        path.write_text("\n".join(text for text in kept.values() if text is not None))
        print(f"{path.name}: {len(kept)} programs, {path.stat().st_size} bytes", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
