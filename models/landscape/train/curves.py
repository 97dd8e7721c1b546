"""Draws the loss curves of log/*.csv into log/curves.png."""
import csv
import math
import os

from PIL import Image, ImageDraw, ImageFont

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "log")
PANELS = [("vae.csv", "psnr", "VAE: training PSNR, dB", False),
          ("vae.csv", "loss", "VAE: loss (log)", True),
          ("ldm.csv", "mse", "UNet: squared error of the noise (log)", True),
          ("tune1.csv", "first", "tuning 1: error of the picture, from noise", False),
          ("tune2.csv", "first", "tuning 2: the same (log)", True),
          ("tune2.csv", "side", "tuning 2: named side painted, while exaggerated", False)]


def panel(pen, box, name, column, title, log, font):
    with open(os.path.join(HERE, name)) as f:
        rows = [(int(r["step"]), float(r[column])) for r in csv.DictReader(f)
                if column != "side" or float(r["exaggerated"]) > 0]
    ys = [math.log10(v) if log else v for _, v in rows]
    x0, y0, x1, y1 = box
    low, high, last = min(ys), max(ys), rows[-1][0]
    pen.rectangle(box, outline="black")
    pen.text((x0, y0 - 16), title, "black", font)
    points = [(x0 + (x1 - x0) * s / last, y1 - (y1 - y0) * (v - low) / (high - low))
              for (s, _), v in zip(rows, ys)]
    pen.line(points, fill=(200, 40, 30), width=2)
    ends = (f"{10 ** high:.3g}", f"{10 ** low:.3g}") if log else (f"{high:.3g}", f"{low:.3g}")
    pen.text((x0 + 4, y0 + 2), ends[0], "black", font)
    pen.text((x0 + 4, y1 - 16), ends[1], "black", font)
    pen.text((x1 - 50, y1 + 3), str(last), "black", font)


def main():
    font = ImageFont.load_default(size=12)
    page = Image.new("RGB", (1020, 500), "white")
    pen = ImageDraw.Draw(page)
    for i, (name, column, title, log) in enumerate(PANELS):
        x, y = 340 * (i % 3), 240 * (i // 3)
        panel(pen, (15 + x, 30 + y, 325 + x, 230 + y), name, column, title, log, font)
    page.quantize(32).save(os.path.join(HERE, "curves.png"), optimize=True)


if __name__ == "__main__":
    main()
