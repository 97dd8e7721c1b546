"""Who uses whom among libsd's sources: by what they include, and by what their object files define
and leave undefined. A graph is {node: set of the nodes that it uses}.
"""
import posixpath
import re
import subprocess

CODE = {".c", ".h", ".cu", ".cuh"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def read(path):
    return path.read_text(encoding="utf-8")


def files(root, *folders):
    return sorted(p for folder in folders for p in (root / folder).rglob("*") if p.suffix in CODE)


def components(graph):
    """Strongly connected components (Tarjan 1972), those that are used first."""
    index, low, stack, result = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in sorted(graph[node]):
            if to not in index:
                visit(to)
            if to in stack:
                low[node] = min(low[node], low[to])
        if low[node] == index[node]:
            result.append(stack[stack.index(node):])
            del stack[stack.index(node):]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return result


def circles(graph):
    """Components of more than one node."""
    return sorted(sorted(c) for c in components(graph) if len(c) > 1)


def floors(graph, size=len):
    """The longest way down the graph, where a circle counts as its size tells."""
    parts = components(graph)
    home = {node: i for i, part in enumerate(parts) for node in part}
    depth = {}
    for i, part in enumerate(parts):
        below = {home[to] for node in part for to in graph[node]} - {i}
        depth[i] = size(part) + max((depth[j] for j in below), default=0)
    return max(depth.values(), default=0)


def folded(graph, key):
    """The graph of the nodes' keys, without what stays inside of one."""
    result = {key(node): set() for node in graph}
    for node, used in graph.items():
        result[key(node)] |= {key(to) for to in used} - {key(node)}
    return result


def within(graph, folder):
    inside = {node for node in graph if node.startswith(folder + "/")}
    return {node: graph[node] & inside for node in inside}


def folder_of(name):
    return name.rpartition("/")[0]


def unit(name):
    """A source and the header of its name are one thing."""
    return re.sub(r"\.(c|h|cu|cuh)$", "", name)


def include_graph(root):
    """Files of lib/ and backends/, by what they include in quotes."""
    paths = {p.relative_to(root).as_posix(): p for p in files(root, "lib", "backends")}
    graph = {}
    for name, path in paths.items():
        places = [folder_of(name), "lib"]
        wanted = [[posixpath.normpath(f"{place}/{other}") for place in places]
                  for other in INCLUDE.findall(read(path))]
        graph[name] = {next(p for p in found if p in paths)
                       for found in wanted if any(p in paths for p in found)}
    return graph


def source_of(name, root):
    """lib_core_error.c.o was lib/core/error.c; None for what was generated."""
    words = name.rpartition("/")[2].removesuffix(".o").split("_")
    for n in range(1, len(words)):
        path = "/".join(words[:n]) + "/" + "_".join(words[n:])
        if (root / path).is_file():
            return path
    return None


def listing(nm, archive):
    """`nm -A -P` of an archive: (object file, symbol, its type) each."""
    out = subprocess.run([nm, "-A", "-P", "-g", archive], check=True, text=True,
                         capture_output=True).stdout
    row = re.compile(r".*\[(.*)\]: (\S+) (\w)")
    return [found.groups() for found in map(row.match, out.splitlines()) if found]


def uses(rows):
    """{(user, definer): symbols} of a listing, for what is defined in it."""
    home = {symbol: place for place, symbol, kind in rows if kind not in "Uw"}
    found = {}
    for place, symbol, kind in rows:
        if kind in "Uw" and home.get(symbol, place) != place:
            found.setdefault((place, home[symbol]), set()).add(symbol)
    return found


def source_listing(rows, root):
    """A listing of object files as one of their sources."""
    names = {place: source_of(place, root) for place in {row[0] for row in rows}}
    return [(names[place], symbol, kind) for place, symbol, kind in rows if names[place]]


def symbol_graph(rows):
    graph = {place: set() for place, _, _ in rows}
    for user, definer in uses(rows):
        graph[user].add(definer)
    return graph
