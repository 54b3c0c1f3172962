package dev.edgefm.bundle;

/**
 * How a picture becomes the model's pixels, as the steps of contract.json say it.
 *
 * @param fit "stretch", "contain" (the aspect is kept, the rest is background) or "cover" (the middle is cut out)
 * @param filter of resizing: "nearest", "box", "bilinear", "bicubic" or "lanczos"
 * @param reversed whether blue comes first
 * @param invert "asked", "light_border" or "always"
 * @param background level around a contained picture, 0 to 255
 * @param over what transparent parts are put on: "white", "black", or "auto": white where the picture may be inverted
 */
public record PictureSteps(
        String fit, String filter, boolean reversed, String invert, int background, String over) {

    /** Returns what the steps up to the pixels say; a BundleException names what this adapter does not carry out. */
    static PictureSteps read(StepReader reader, Tensor input) {
        int height = input.shape()[1];
        int width = input.shape()[2];
        int channels = input.shape()[3];
        reader.next("decode", 5);
        reader.choice("frame", "first");
        reader.level("bits", 8, 8);
        reader.choice("deeper", "high_byte");
        reader.choice("colour_profile", "ignored");
        reader.next("orient", 2);
        reader.choice("by", "exif");
        String over = "white";
        if (channels < 4) {
            reader.next("alpha", 2);
            over = reader.choice("over", "white", "black", "auto");
        }
        reader.next("channels", channels == 1 ? 3 : 2);
        String order =
                switch (channels) {
                    case 1 -> reader.choice("order", "grey");
                    case 3 -> reader.choice("order", "rgb", "bgr");
                    default -> reader.choice("order", "rgba");
                };
        if (channels == 1) {
            reader.choice("weights", "bt601");
        }
        reader.next("resize", 6);
        reader.level("height", height, height);
        reader.level("width", width, width);
        String fit = reader.choice("fit", "stretch", "contain", "cover");
        String filter = reader.choice("filter", "nearest", "box", "bilinear", "bicubic", "lanczos");
        reader.isTrue("antialias", !filter.equals("nearest"));
        reader.next("invert", 2);
        String invert = reader.choice("when", "asked", "light_border", "always");
        int background = 0;
        if (fit.equals("contain")) {
            reader.next("pad", 5);
            reader.level("height", height, height);
            reader.level("width", width, width);
            reader.choice("place", "centre");
            background = reader.level("background", 0, 255);
        }
        return new PictureSteps(fit, filter, order.equals("bgr"), invert, background, over);
    }

    /** Returns whether, and where the border decides, a picture is inverted of which a caller asked something. */
    Invert inverts(Invert asked) {
        if (asked != Invert.AUTO || invert.equals("light_border")) {
            return asked;
        }
        return invert.equals("always") ? Invert.YES : Invert.NO;
    }
}
