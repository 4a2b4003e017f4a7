"""The planner: gradients, lifetimes, memory and stretches of rows of a plan's ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nncore.arena import Storage, round_up

if TYPE_CHECKING:
    from nncore._kernels.op import Op, Tensor
    from nncore.plan import Plan


Section = tuple[int, bool, int, bool]  # see Planner.sections

WORTH_SHARING = 32 << 10  # bytes of memory
STRETCH_BYTES = 1 << 20  # about a second-level cache
FEW_WEIGHTS = 32 << 10  # bytes that may come anew for each stretch
MOST_ROWS = 1024  # of a stretch through the whole network
SEQUENCES = 128  # the same, of a recurrent one


def root(tensor: Tensor) -> Tensor:
    """The tensor whose memory this one lies in."""
    while tensor.base is not None:
        tensor = tensor.base
    return tensor


class Planner:
    """Gradients, lifetimes and memory of the ops of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.ops = plan, plan.ops
        self.outputs = [root(t) for t in plan.outputs]
        for op in self.ops:
            wanted = any(root(x).wants_grad for x in op.inputs)
            for y in op.outputs:
                y.wants_grad = y.wants_grad or wanted
        self.backward = self._find_backward() if plan.training else []
        self.steps = [*self.ops, *self.backward]
        self._value: dict[Tensor, set[Tensor]] = {}
        self._grad: dict[Tensor, set[Tensor]] = {}
        self._share_memory()
        self._mark_additions()
        self.beside = self._find_dealt()
        self.meets = self._find_meetings()

    def _find_backward(self) -> list[Op]:
        """The ops whose backward pass must run, last op first."""
        reached = set(self.outputs) if self.plan.purpose == "training" else set()
        backward = []
        for op in reversed(self.ops):
            is_loss = not op.outputs
            wanted = any(root(x).wants_grad for x in op.inputs)
            if wanted and (is_loss or any(root(y) in reached for y in op.outputs)):
                backward.append(op)
                reached.update(root(x) for x in op.inputs if root(x).wants_grad)
        return backward

    def _share_memory(self) -> None:
        """Views share their base's memory; an op in place shares its input's, value or gradient,
        where it is the last to read the input and nobody needs it afterwards."""
        readers: dict[Tensor, list[Op]] = {}
        needed_later = {root(gather.x) for gather in self.plan.gathers} | set(self.outputs)
        needed_later |= {root(t) for op in self.ops if op.commits for t in op.saved}
        going_back = set(self.backward)
        for op in self.ops:
            for x in op.inputs:
                readers.setdefault(root(x), []).append(op)
                if op in going_back and op.backward_reads_x:
                    needed_later.add(root(x))
            if op in going_back and op.backward_reads_y:
                needed_later.update(root(y) for y in op.outputs)
        for op in self.ops:
            if not op.in_place or op.inputs[0].parameter:
                continue
            x, y = root(op.inputs[0]), root(op.outputs[0])
            if readers[x][-1] is not op or x.size != y.size:
                continue
            if self._group(self._value, x).isdisjoint(needed_later):
                self._join(self._value, x, y)
            if x not in self.outputs and x not in (root(g.x) for g in self.plan.inputs):
                self._join(self._grad, x, y)

    @staticmethod
    def _group(groups: dict[Tensor, set[Tensor]], tensor: Tensor) -> set[Tensor]:
        return groups.setdefault(tensor, {tensor})

    def _join(self, groups: dict[Tensor, set[Tensor]], x: Tensor, y: Tensor) -> None:
        together = self._group(groups, x) | self._group(groups, y)
        for tensor in together:
            groups[tensor] = together

    def _mark_additions(self) -> None:
        """The first to write a gradient overwrites, later ones add."""
        written = set(self.outputs) if self.plan.purpose == "training" else set()
        for op in self.backward:
            op.add = 0
            for i, x in enumerate(op.inputs):
                if not root(x).wants_grad:
                    continue
                if root(x) in written:
                    op.add |= 1 << i
                written.add(root(x))
        self.written = written

    def _find_dealt(self) -> set[int]:
        """The places of forward ops that are dealt out together with the op before them: those of
        about as much work, or a member would wait for the other."""
        found: set[int] = set()
        written: set[Tensor] = set()  # by the ops that the next one would be together with
        work = 0.0  # of the first of them
        for i, op in enumerate(self.ops):
            reads = {root(x) for x in op.inputs}
            alike = 0.8 * work <= op.work <= 1.25 * work
            if op.dealt and i and self.ops[i - 1].dealt and alike and not reads & written:
                found.add(i)
            else:
                written, work = set(), op.work
            written |= {root(y) for y in op.outputs}
        return found

    def _find_meetings(self) -> list[bool]:
        """Before which steps the team must meet: where an op reads what others wrote; and, in
        inference, where its output is so large that it should take memory used before."""
        meets, last = [], None  # what has run since the last meeting: None, by rows, or not
        for i, op in enumerate(self.steps):
            if i in self.beside:
                meets.append(False)
                continue
            by_rows = op.forward_by_rows if i < len(self.ops) else op.backward_by_rows
            taken = sum(y.size * y.itemsize for y in op.outputs) * self.plan.most_rows
            large = taken >= WORTH_SHARING and not self.plan.training
            meet = last == "mixed" or (last == "rows" and (large or not by_rows))
            meets.append(meet)
            last = "mixed" if not by_rows else "rows"
        return meets

    def sections(self) -> tuple[list[Section], list[Section]]:
        """How the team goes through the forward and the backward ops, each as a list of sections
        (number of ops, whether to meet before them, rows, whether they are dealt out).

        Ops by rows, from one meeting to the next, leave a member alone with its rows. Where all of
        an op's rows are more than a cache holds, ``rows`` of them go through the ops of a section
        at a time. What weights an op has come anew for each such stretch, so one with many keeps
        apart. Ops that may be dealt out are a section, too: each goes to one member, if all
        members then have as many.
        """
        n = len(self.ops)
        return self._sections(self.ops, self.meets[:n]), self._sections(
            self.backward, self.meets[n:], going_back=True
        )

    def _sections(self, ops: list[Op], meets: list[bool], going_back: bool = False):
        sections: list[Section] = []
        together = False  # may the next op join the last section?
        for i, (op, meet) in enumerate(zip(ops, meets, strict=True)):
            if i in self.beside and not going_back:
                count, met, _, _ = sections.pop()
                sections.append((count + 1, met, 0, True))
                continue
            by_rows = op.backward_by_rows if going_back else op.forward_by_rows
            tensors = (*op.inputs, *op.outputs)
            row = sum(t.size * t.itemsize for t in tensors if t.has_rows) * (1 + going_back)
            weights = sum(t.size * t.itemsize for t in tensors if not t.has_rows)
            joins = by_rows and not op.holds_gil and weights <= FEW_WEIGHTS
            rows = max(1, STRETCH_BYTES // max(1, row)) if joins else 0
            if together and joins and not meet:
                count, met, most, _ = sections.pop()
                sections.append((count + 1, met, min(most, rows), False))
            else:
                sections.append((1, meet, rows, False))
            together = joins
        return [(n, meet, rows if n > 1 else 0, dealt) for n, meet, rows, dealt in sections]

    def place(self, rows: int) -> list[Storage]:
        """A storage for each group of tensors, with its lifetime.

        Lifetimes are counted in meetings, not in ops: between two meetings a member may be ops
        ahead of another, so that memory changes hands only across one.
        """
        moment, moments = 0, []
        for meet in self.meets:
            moment += meet
            moments.append(moment)
        end = moment + 1
        forward = {op: moments[i] for i, op in enumerate(self.ops)}
        backward = {op: moments[len(self.ops) + i] for i, op in enumerate(self.backward)}
        turn = max(forward.values(), default=0)
        values: dict[int, Storage] = {}
        grads: dict[int, Storage] = {}
        self._value_storage: dict[Tensor, Storage] = {}
        self._grad_storage: dict[Tensor, Storage] = {}

        def need(groups, storages, found, tensor, when):
            base = root(tensor)
            if base.parameter:
                return
            group = self._group(groups, base)
            size = max(t.size * t.itemsize * (rows if t.has_rows else 1) for t in group)
            storage = storages.setdefault(id(group), Storage(round_up(size), when, when))
            storage.need(when)
            for t in group:
                found[t] = storage

        for op in self.ops:
            for t in (*op.inputs, *op.outputs, *op.saved):
                need(self._value, values, self._value_storage, t, forward[op])
            if op not in backward:
                continue
            for t in (
                *op.saved,
                *(op.inputs if op.backward_reads_x else ()),
                *(op.outputs if op.backward_reads_y else ()),
            ):
                need(self._value, values, self._value_storage, t, backward[op])
            for t in (*op.inputs, *op.outputs):
                if root(t) in self.written:
                    need(self._grad, grads, self._grad_storage, t, backward[op])
        # of losses, and what is kept once a step is known to be good
        results = [t for op in self.ops if not op.outputs or op.commits for t in op.saved]
        for t in [t for op in self.ops for t in op.kept]:
            need(self._value, values, self._value_storage, t, 0)
            need(self._value, values, self._value_storage, t, end)
        for t in [*self.outputs, *results]:
            need(self._value, values, self._value_storage, t, end)
            if t in self.written and self.plan.purpose == "training":
                need(self._grad, grads, self._grad_storage, t, turn)
        for gather in self.plan.inputs:
            if root(gather.x) in self.written:
                need(self._grad, grads, self._grad_storage, gather.x, end)
        return [*values.values(), *grads.values()]

    def bind(self, arena: int) -> None:
        """Tells each tensor where it lies."""
        for tensor in self.plan._tensors:
            value = self._value_storage.get(root(tensor))
            grad = self._grad_storage.get(root(tensor))
            tensor.bind(
                arena + value.offset if value else 0,
                arena + grad.offset if grad and root(tensor).wants_grad else 0,
            )
        for tensor in self.plan._parameters.values():
            data, slope = tensor.addresses
            tensor.bind(data, slope if tensor in self.written else 0)

    def sharing(self, tensor: Tensor) -> list[Tensor]:
        """All tensors in this tensor's memory."""
        group = self._group(self._value, root(tensor))
        return [t for t in self.plan._tensors if root(t) in group]


def stretch(declared: Plan) -> int:
    """Rows that a member of the team should take through the whole network at a time: as many as
    keep what one op reads and writes in a cache, and more where the weights, which come anew for
    each stretch, are larger than that. What goes step by step has only a step there: so many
    sequences that its products are fast."""
    if any(op.steps > 1 for op in declared.ops):
        return SEQUENCES
    if any(op.holds_gil for op in declared.ops):
        return MOST_ROWS  # Python costs by the call
    row = max([sum(t.size for t in (*op.inputs, *op.outputs) if t.has_rows) for op in declared.ops])
    size = declared.dtype.itemsize
    weights = size * sum(t.size for t in declared._parameters.values())
    most = max(STRETCH_BYTES, weights) / (size * max(1, row))
    return 2 ** round(math.log2(min(max(1, most), MOST_ROWS)))
