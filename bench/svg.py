"""Curves as SVG."""
import math

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 70, 30, 170, 40
COLOURS = ("#2a7", "#c63", "#36c", "#a3a", "#777", "#b90", "#088", "#d46")


def ticks(low, high, logarithmic):
    if logarithmic:
        return [10.0 ** p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    step = 10 ** math.floor(math.log10((high - low) or 1))
    step = step if (high - low) / step >= 4 else step / 5
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def curves(title, unit, series, logarithmic=True):
    """series: {name: [(x, y)...]}. Logarithmic: both axes; what is not positive is left out."""
    series = {name: [(x, y) for x, y in points if not logarithmic or (x > 0 and y > 0)] for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    xs, ys = ([p[i] for points in series.values() for p in points] for i in (0, 1))
    across, up = (ticks(min(v) if logarithmic else 0, max(v), logarithmic) for v in (xs, ys))

    def place(value, marks, start, end):
        a, b, v = (math.log10(n) if logarithmic else n for n in (marks[0], marks[-1], value))
        return start + (end - start) * (v - a) / ((b - a) or 1)

    def at(x, y):
        return place(x, across, LEFT, WIDTH - RIGHT), place(y, up, HEIGHT - BOTTOM, TOP)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<text x="{LEFT}" y="16">{title}</text><text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{unit}</text>']
    for x in across:
        px = at(x, up[0])[0]
        parts.append(f'<line x1="{px:.0f}" x2="{px:.0f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/><text x="{px:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,g}</text>')
    for y in up:
        py = at(across[0], y)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py:.0f}" y2="{py:.0f}" stroke="#ddd"/><text x="{LEFT - 6}" y="{py + 4:.0f}" text-anchor="end">{y:,g}</text>')
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*p) for p in sorted(points)))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x="{WIDTH - RIGHT + 8}" y="{TOP + 14 + 17 * i}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
