"""What a picture shows: attributes, which of them go together, and the sampling of scenes."""
import numpy as np

TERRAIN = ["mountains", "hills", "desert", "sea", "lake", "forest", "snowfield", "city"]
TIME = ["dawn", "day", "dusk", "night"]
SKY = ["clear", "cloudy", "stars", "rainbow"]
BODY = ["none", "sun", "moon"]
BODY_COLOUR = ["red", "orange", "yellow", "white"]
SIDE = ["left", "right"]
WEATHER = ["none", "autumn", "snow", "rain", "fog"]
OBJECT = ["none", "house", "boat", "castle", "tree", "balloon", "windmill"]
COLOUR = ["red", "blue", "yellow", "white", "green"]
COUNT = ["one", "two", "three"]
STYLE = ["flat", "watercolour", "pixel", "sketch"]

ATTRIBUTES = {
    "terrain": TERRAIN, "time": TIME, "sky": SKY, "body": BODY, "body_colour": BODY_COLOUR,
    "side": SIDE, "weather": WEATHER, "object": OBJECT, "colour": COLOUR, "count": COUNT,
    "style": STYLE,
}
# Attributes of something that may be absent, and what must then be there.
PART_OF = {"body_colour": "body", "side": "body", "colour": "object", "count": "object"}

# Rows: terrain; entries: weights of none, house, boat, castle, tree, balloon, windmill.
OBJECT_WEIGHT = np.array([
    [5, 2, 0, 2, 2, 2, 2],  # mountains
    [5, 2, 0, 2, 2, 2, 2],  # hills
    [5, 2, 0, 2, 2, 2, 2],  # desert
    [4, 0, 5, 0, 0, 2, 0],  # sea
    [4, 1.5, 4, 1.5, 1.5, 1.5, 1.5],  # lake
    [5, 2, 0, 2, 0, 2, 2],  # forest: a tree would not be seen
    [5, 2, 0, 2, 2, 2, 2],  # snowfield
    [5, 0, 0, 0, 2, 4, 0],  # city
], dtype=np.float64)
# Rows: time; entries: weights of clear, cloudy, stars, rainbow; and of no body, sun, moon.
SKY_WEIGHT = np.array([[5, 4, 0, 2], [5, 4, 0, 3], [5, 4, 2, 1], [3, 3, 6, 0]], dtype=np.float64)
BODY_WEIGHT = np.array([[2, 6, 1.5], [2.5, 6, 0], [2, 6, 1.5], [2.5, 0, 7]], dtype=np.float64)
# Rows: terrain; none, autumn, snow, rain, fog.
WEATHER_WEIGHT = np.array([
    [7, 2, 1.5, 1.5, 1.5],
    [7, 2, 1.5, 1.5, 1.5],
    [8, 0, 0, 1, 1],
    [7, 0, 1, 2, 1.5],
    [7, 2, 1.5, 1.5, 1.5],
    [7, 2.5, 1.5, 1.5, 1.5],
    [7, 0, 3, 0, 2],
    [7, 2, 1.5, 1.5, 1.5],
], dtype=np.float64)
STYLE_WEIGHT = np.array([[5.5, 1.6, 1.5, 1.4]])


def choose(rng, weight):
    """One column for each row, in proportion to its weight."""
    p = np.cumsum(weight / weight.sum(1, keepdims=True), axis=1)
    return (rng.random((len(weight), 1)) >= p[:, :-1]).sum(1).astype(np.int64)


def sample(n, seed):
    """n scenes: a dict of int64 arrays [n], one for each attribute."""
    rng = np.random.default_rng(seed)
    s = {"terrain": rng.integers(0, 8, n), "time": choose(rng, np.ones((n, 4)))}
    s["weather"] = choose(rng, WEATHER_WEIGHT[s["terrain"]])
    sky = SKY_WEIGHT[s["time"]].copy()
    sky[s["weather"] == 3, 0] = 0  # rain needs clouds
    sky[s["weather"] == 3, 2] = 0
    sky[np.ix_(s["weather"] == 4, [2, 3])] = 0  # fog hides stars and rainbows
    s["sky"] = choose(rng, sky)
    s["body"] = choose(rng, BODY_WEIGHT[s["time"]])
    s["body_colour"] = rng.integers(0, 4, n)
    s["side"] = rng.integers(0, 2, n)
    s["object"] = choose(rng, OBJECT_WEIGHT[s["terrain"]])
    s["colour"] = rng.integers(0, 5, n)
    s["count"] = choose(rng, np.repeat([[2.0, 1.0, 1.0]], n, 0))
    s["style"] = choose(rng, np.repeat(STYLE_WEIGHT, n, 0))
    return s
