"""Runs a program on the model and writes the log it gives."""
import sys

OPERATION_LIMIT = 300          # of one run of a program; more is a loop of tasklets that spawn each other
LONG_OPERATION_LIMIT = 4000
LEAKED = []                    # machines with suspended greenlets: collecting those would run their tasklets


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
            if self.switch_trap:
                return nxt                                   # also a soft interrupt is a switch
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
            if victim is not None and sys.exception() is not None:
                self.undefined = "a victim handed to a run that raises something"
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
