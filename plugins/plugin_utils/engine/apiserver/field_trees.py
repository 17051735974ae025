# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of fields as trees: FieldsV1 is made, added to and taken from without going through the paths that it stands for.

A node holds what is below it by element, and "." when it is itself in the set; what is in the set and has nothing below is {}.
A tree is shared by all objects that are owned alike, and never changed. One without any field is {}.
How many nodes are remembered is bounded: one that was forgotten is made again when it is needed, equal to the older one and not the same.
Source: structured-merge-diff fieldpath.
"""
from __future__ import annotations

import typing as t

Tree = dict[str, t.Any]
Path = tuple[str, ...]
Paths = set[Path]

MEMBER = "."
LEAF: Tree = {}
_ALONE: Tree = {MEMBER: LEAF}

_NODES_LIMIT = 20_000
_nodes: dict[tuple[object, ...], Tree] = {}
"""The nodes that were made lately, by the way of making, the names and the identities of what is below: thousands of objects share them."""


def forget_nodes() -> None:
    """Share no further tree with an object that has one already."""
    _nodes.clear()


def _remember(key: tuple[object, ...], made: Tree) -> Tree:
    if len(_nodes) >= _NODES_LIMIT:
        forget_nodes()
    # What is below is kept by its node, so its id stays its own.
    _nodes[key] = made
    return made


def _ordered_node(children: Tree) -> Tree:
    """The one node with these children in this order."""
    key = ("ordered", *children, *map(id, children.values()))
    return _nodes.get(key) or _remember(key, children)


def node(children: Tree) -> Tree:
    """The one node with these children, sorted as the real server does: "." comes first, as it sorts before "f:"."""
    if not children or children == _ALONE:
        return LEAF
    key = ("sorted", *children, *map(id, children.values()))
    return _nodes.get(key) or _remember(key, _ordered_node({element: children[element] for element in sorted(children)}))


def struct_node(names: t.Iterable[str], below: list[Tree | None], member: bool) -> Tree | None:
    """The one node of a struct or map with fields of these names, `below` in the same order; None when nothing of it is in the set."""
    key = ("member" if member else "struct", *names, *map(id, below))
    found = _nodes.get(key)
    if found is None:
        children = {"f:" + name: tree for name, tree in zip(names, below, strict=True) if tree is not None}
        if member:
            children[MEMBER] = LEAF
        elif not children:
            return None
        found = _remember(key, node(children))
    return found


class Draft(Tree):
    """A tree that is being put together: it is not shared, and in any order; what is below may be shared."""

    __slots__ = ()


def shared(tree: Tree) -> Tree:
    """The one tree with the fields of a draft."""
    return node({element: shared(below) for element, below in tree.items()}) if isinstance(tree, Draft) else tree


def with_fields(tree: Tree, more: Tree) -> Tree:
    """One tree and the fields of another; the same object when it has them already."""
    if not more:
        return tree
    return _with(tree, more) if tree else shared(more)


def _with(tree: Tree, more: Tree) -> Tree:
    if tree is more:
        return tree
    # What has nothing below is a member without saying so.
    elements = tree or _ALONE
    gained: Tree = {}
    for element, below in (more or _ALONE).items():
        held = elements.get(element)
        both = shared(below) if held is None else _with(held, below)
        if both is not held:
            gained[element] = both
    if not gained:
        return tree
    return _ordered_node({**gained, **elements}) if gained == _ALONE else node({**elements, **gained})


def without_fields(tree: Tree, less: Tree) -> Tree:
    """A tree without the fields of another; the same object when it has none of them."""
    if not tree or not less:
        return tree
    return _without(tree, less) or LEAF


def _without(tree: Tree, less: Tree) -> Tree | None:
    """None when nothing of it is left."""
    if tree is less:
        return None
    if not tree:
        return None if not less or MEMBER in less else tree
    left = tree
    for element, below in (less or _ALONE).items():
        held = tree.get(element)
        rest = _without(held, below) if held is not None else None
        if rest is not held:
            left = dict(tree) if left is tree else left
            if rest is None:
                del left[element]
            else:
                left[element] = rest
    if left is tree:
        return tree
    if not left:
        return None
    return LEAF if left == _ALONE else _ordered_node(left)


def decode_fields(tree: Tree) -> Paths:
    """FieldsV1 as a set of paths."""
    found: Paths = set()
    _decode(tree, (), found)
    return found


def _decode(tree: Tree, path: Path, found: Paths) -> None:
    for element, below in tree.items():
        if element == MEMBER:
            found.add(path)
        elif not below:
            found.add((*path, element))
        else:
            _decode(below, (*path, element), found)


def encode_fields(paths: t.Iterable[Path]) -> Tree:
    """A set of paths as FieldsV1."""
    children: Tree = {}
    further: dict[str, list[Path]] = {}
    for path in paths:
        if path:
            further.setdefault(path[0], []).append(path[1:])
        else:
            children[MEMBER] = LEAF
    children |= {element: encode_fields(some) for element, some in further.items()}
    return node(children)
