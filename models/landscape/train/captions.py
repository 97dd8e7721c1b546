"""Captions for scenes: many wordings and orders, synonyms, parts left out.

    python captions.py        prints some
"""
import random
import sys

import scene

TERRAIN = {
    "mountains": ["mountains", "snowy mountains", "mountain peaks", "a mountain range",
                  "high mountains", "a mountain landscape", "snow-capped mountains"],
    "hills": ["hills", "rolling hills", "green hills", "gentle hills", "hilly countryside",
              "a hilly landscape", "meadows and hills"],
    "desert": ["a desert", "desert dunes", "sand dunes", "a sandy desert", "dunes",
               "a desert landscape"],
    "sea": ["the sea", "the ocean", "a calm sea", "open water", "a sea", "the open sea",
            "a seascape"],
    "lake": ["a lake", "a mountain lake", "a calm lake", "snowy mountains and a lake",
             "a lake with reflections", "mountains over a lake", "a lake below mountains"],
    "forest": ["a forest", "a pine forest", "the woods", "fir trees", "a forest of firs",
               "a dense forest", "a forest landscape"],
    "snowfield": ["a snow field", "snowy fields", "a snowfield", "a field of snow",
                  "a snowy plain", "white snowy hills"],
    "city": ["a city", "a city skyline", "skyscrapers", "a town with towers", "a skyline",
             "tall buildings", "a city landscape"],
}
AUTUMN_HILLS = ["hills", "rolling hills", "gentle hills", "hilly countryside", "a hilly landscape"]
TIME = {
    "dawn": ["at dawn", "at sunrise", "in the early morning", "at daybreak", "in the morning"],
    "day": ["by day", "in daylight", "at noon", "during the day", "in the daytime", "at midday"],
    "dusk": ["at dusk", "at sunset", "in the evening", "at twilight", "at nightfall"],
    "night": ["at night", "by night", "in the night", "at midnight", "late at night"],
}
SKY = {
    "clear": ["under a clear sky", "with a clear sky", "with no clouds", "under a cloudless sky"],
    "cloudy": ["under a cloudy sky", "with clouds", "with a cloudy sky", "with some clouds",
               "under clouds"],
    "stars": ["under the stars", "with stars", "with a starry sky", "under a starry sky",
              "with many stars"],
    "rainbow": ["with a rainbow", "under a rainbow", "with a rainbow in the sky",
                "with a colourful rainbow"],
}
COLOUR = {"red": ["red", "red", "crimson", "scarlet"], "orange": ["orange", "orange", "amber"],
          "yellow": ["yellow", "yellow", "golden"], "white": ["white", "white", "pale"],
          "blue": ["blue", "blue", "azure"], "green": ["green", "green", "emerald"]}
BODY = {"sun": ["sun"], "moon": ["moon", "moon", "crescent moon"]}
SIDE = {
    "left": ["on the left", "to the left", "on the left side", "at the left"],
    "right": ["on the right", "to the right", "on the right side", "at the right"],
}
WEATHER = {
    "autumn": ["in autumn", "in the fall", "with autumn leaves", "in autumn colours",
               "with falling leaves"],
    "snow": ["in snowfall", "with falling snow", "in winter snow", "while it is snowing",
             "with snowflakes"],
    "rain": ["in the rain", "with rain", "on a rainy day", "in heavy rain", "while it is raining"],
    "fog": ["in fog", "in the mist", "with fog", "in thick fog", "in misty weather"],
}
OBJECT = {
    "house": [("house", "houses"), ("house", "houses"), ("cottage", "cottages"),
              ("hut", "huts")],
    "boat": [("boat", "boats"), ("boat", "boats"), ("sailing boat", "sailing boats"),
             ("ship", "ships"), ("sailboat", "sailboats")],
    "castle": [("castle", "castles"), ("castle", "castles"), ("fortress", "fortresses"),
               ("palace", "palaces")],
    "tree": [("tree", "trees"), ("tree", "trees"), ("round tree", "round trees")],
    "balloon": [("balloon", "balloons"), ("hot air balloon", "hot air balloons"),
                ("hot-air balloon", "hot-air balloons")],
    "windmill": [("windmill", "windmills"), ("windmill", "windmills"), ("mill", "mills")],
}
STYLE = {
    "flat": ["flat style", "flat illustration", "flat design", "vector art"],
    "watercolour": ["watercolour", "watercolor painting", "watercolour style", "watercolor",
                    "painted in watercolour", "aquarelle"],
    "pixel": ["pixel art", "pixel style", "8-bit pixel art", "pixelated", "retro pixel art"],
    "sketch": ["sketch", "pencil sketch", "ink drawing", "sketch style", "hand-drawn sketch"],
}
KIND = ["landscape", "scene", "picture", "view", "illustration", "painting", "fantasy landscape",
        "image", "drawing"]
PRAISE = ["beautiful", "highly detailed", "detailed", "serene", "peaceful", "lovely", "dreamy",
          "colourful", "quiet", "stunning", "trending on artstation", "high quality"]
# How often what is there is said. A style other than flat always is: without one, draw flat.
SAID = {"terrain": 0.96, "time": 0.93, "sky": 0.75, "body": 0.95, "body_colour": 0.85,
        "side": 0.88, "weather": 0.96, "object": 0.97, "colour": 0.90, "count": 1.0, "style": 1.0}
RARELY = {("sky", "clear"): 0.35, ("style", "flat"): 0.35, ("time", "day"): 0.85,
          ("sky", "rainbow"): 0.96, ("sky", "stars"): 0.85}
ALWAYS = ("count", "style")  # also by terse captions


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def body_phrase(r, said):
    words = r.choice(BODY[said["body"]])
    if "body_colour" in said:
        words = r.choice(COLOUR[said["body_colour"]]) + " " + words
    words = (article(words) if r.random() < 0.8 else "the " + words)
    if "side" in said:
        words += " " + r.choice(SIDE[said["side"]])
    return words


def object_phrase(r, said):
    one, many = r.choice(OBJECT[said["object"]])
    n = said["count"]
    colour = r.choice(COLOUR[said["colour"]]) + " " if "colour" in said else ""
    if n == "one":
        return article(colour + one) if r.random() < 0.8 else "one " + colour + one
    number = {"two": ["two", "two", "2", "a pair of"], "three": ["three", "three", "3"]}[n]
    return r.choice(number) + " " + colour + many


def style_phrase(r, style):
    words = r.choice(STYLE[style])
    if words[0] == "p" and words.startswith("painted"):
        return words
    return words if r.random() < 0.7 else "in the style of " + words


def compose(r, said):
    """One caption that says exactly `said` (attribute: value)."""
    terrain = said.get("terrain")
    weather = said.get("weather", "none")
    place = None
    if terrain:
        names = AUTUMN_HILLS if terrain == "hills" and weather in ("autumn", "snow") \
            else TERRAIN[terrain]
        place = r.choice(names)
    things = []
    if said.get("body", "none") != "none":
        things.append(body_phrase(r, said))
    if said.get("object", "none") != "none":
        things.append(object_phrase(r, said))
    r.shuffle(things)
    tails = []
    if "time" in said:
        tails.append(r.choice(TIME[said["time"]]))
    if "sky" in said:
        tails.append(r.choice(SKY[said["sky"]]))
    if weather != "none":
        tails.append(r.choice(WEATHER[weather]))
    r.shuffle(tails)
    if terrain == "lake" and r.random() < 0.35:  # mountains and a red sun over a lake
        place = r.choice(["mountains", "snowy mountains", "snow-capped mountains"])
        tails.insert(0, r.choice(["over a lake", "by a lake", "above a lake", "at a lake"]))
    form = r.random()
    if form < 0.35:  # a landscape with mountains and a red sun at dusk
        head = article(r.choice(PRAISE[:9]) + " " + r.choice(KIND)) if r.random() < 0.4 \
            else article(r.choice(KIND))
        parts = ([place] if place else []) + things
        if r.random() < 0.35:
            r.shuffle(parts)
        text = head
        if parts:
            joint = r.choice([" with ", " of ", " showing "])
            text += joint + (", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1
                             else parts[0])
        text = " ".join([text] + tails)
    elif form < 0.70:  # mountains with a red sun at dusk, two houses
        text = place or "a landscape"
        if r.random() < 0.4:
            text += (" " + tails.pop()) if tails else ""
        if things:
            if len(things) == 2 and r.random() < 0.6:
                text += r.choice([" with ", " and ", ", "]) + things[0] + " and " + things[1]
            else:
                text += r.choice([" with ", " and ", ", "]) + ", ".join(things)
        text = r.choice([" ", ", "]).join([text] + tails)
    elif form < 0.85:  # a red boat on the sea at dawn
        if things and place:
            near = {"sea": ["on", "over"], "lake": ["by", "over", "at"],
                    "forest": ["in", "near"], "city": ["in", "over"]}
            text = " ".join([" and ".join(things),
                             r.choice(near.get(terrain, ["over", "in", "before"])), place])
        else:
            text = " and ".join(things) or place or "a landscape"
        text = " ".join([text] + tails)
    else:  # a list of tags
        parts = ([place] if place else []) + things + tails
        r.shuffle(parts)
        text = ", ".join(parts) or "a landscape"
    if "style" in said:
        style = style_phrase(r, said["style"])
        if r.random() < 0.3:
            text = style + (" of " if r.random() < 0.5 and not style.startswith("painted")
                            else ", ") + text
        else:
            text += ", " + style
    if r.random() < 0.15:
        text += ", " + r.choice(PRAISE)
    if r.random() < 0.10:
        text += "."
    if r.random() < 0.25:
        text = text[0].upper() + text[1:]
    return text


def names(s, i):
    """Scene i of a batch, by names."""
    return {k: values[int(s[k][i])] for k, values in scene.ATTRIBUTES.items()}


def choose_said(r, named, keep=1.0):
    """The attributes that a caption will mention."""
    said = {}
    for key, value in named.items():
        if value == "none":
            continue
        part_of = scene.PART_OF.get(key)
        if part_of and part_of not in said:
            continue
        if r.random() < RARELY.get((key, value), SAID[key]) * (1.0 if key in ALWAYS else keep):
            said[key] = value
    return said


def caption(r, named):
    """A caption of a scene; one in six is terse."""
    return compose(r, choose_said(r, named, 0.55 if r.random() < 0.16 else 1.0))


def held_out(n, seed):
    """n prompts with what each asks for: scenes and wordings of a seed that training never used."""
    s, r = scene.sample(n, seed), random.Random(seed)
    prompts = []
    for i in range(n):
        said = choose_said(r, names(s, i))
        prompts.append((compose(r, said), said))
    return prompts


if __name__ == "__main__":
    for text, _ in held_out(int(sys.argv[1]) if len(sys.argv) > 1 else 30, 5):
        print(text)
