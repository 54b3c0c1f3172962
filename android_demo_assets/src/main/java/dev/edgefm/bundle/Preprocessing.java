package dev.edgefm.bundle;

import java.util.Arrays;

/**
 * Turns a decoded picture into the pixels that a model takes, by the steps of the contract, byte for byte as edgefm does
 * with Pillow: upright, transparent parts filled, grey where the model takes one channel, resized, inverted, padded.
 */
final class Preprocessing {
    /** Pixels of the largest picture that is taken. */
    static final int LARGEST = 50_000_000;

    private static final int BLACK = 0;
    private static final int WHITE = 255;
    private final int height;
    private final int width;
    private final int channels;
    private final PictureSteps steps;
    private final Resampling filter;

    Preprocessing(Contract contract) {
        if (!contract.takesPictures()) {
            throw new BundleException("this model takes no pictures: "
                    + (contract.noPixels() == null ? "its input is no picture" : contract.noPixels()));
        }
        int[] shape = contract.input().shape();
        height = shape[1];
        width = shape[2];
        channels = shape[3];
        steps = contract.pictures();
        filter = Resampling.of(steps.filter());
    }

    /** Returns pixels [height, width, channels] of the model's input, 0 to 255, the last index runs fastest. */
    byte[] pixels(int[] argb, int pictureWidth, int pictureHeight, int orientation, Invert asked) {
        String what = "a picture of " + pictureWidth + " x " + pictureHeight + " has ";
        if (pictureWidth < 1 || pictureHeight < 1 || (long) pictureWidth * pictureHeight != argb.length) {
            throw new BundleException(what + "other than " + argb.length + " pixels");
        }
        if (argb.length > LARGEST) {
            throw new BundleException(what + "more than " + LARGEST + " pixels");
        }
        Invert invert = steps.inverts(asked);
        boolean lying = orientation >= 5 && orientation <= 8;
        int uprightWidth = lying ? pictureHeight : pictureWidth;
        int uprightHeight = lying ? pictureWidth : pictureHeight;
        boolean black = steps.over().equals("black") || (steps.over().equals("auto") && invert == Invert.NO);
        byte[] part = upright(argb, pictureWidth, pictureHeight, orientation, black ? BLACK : WHITE);
        int partWidth = uprightWidth;
        int partHeight = uprightHeight;
        int innerWidth = width;
        int innerHeight = height;
        if (steps.fit().equals("contain")) {
            double factor = Math.min((double) height / uprightHeight, (double) width / uprightWidth);
            innerWidth = Math.max(1, (int) Math.rint(uprightWidth * factor));
            innerHeight = Math.max(1, (int) Math.rint(uprightHeight * factor));
        } else if (steps.fit().equals("cover")) {
            partWidth = (int) Math.max(1, Math.min(uprightWidth, (long) uprightHeight * width / height));
            partHeight = (int) Math.max(1, Math.min(uprightHeight, (long) uprightWidth * height / width));
            part = middle(part, uprightWidth, uprightHeight, partWidth, partHeight);
        }
        byte[] inner = resized(part, partWidth, partHeight, innerWidth, innerHeight);
        if (invert == Invert.YES || (invert == Invert.AUTO && hasBrightBorder(inner, innerWidth, innerHeight))) {
            for (int place = 0; place < inner.length; place++) {
                if (place % channels < 3) { // the fourth channel is how opaque a pixel is
                    inner[place] = (byte) (255 - inner[place]);
                }
            }
        }
        if (steps.reversed()) {
            for (int place = 0; place < inner.length; place += 3) {
                byte red = inner[place];
                inner[place] = inner[place + 2];
                inner[place + 2] = red;
            }
        }
        if (innerWidth == width && innerHeight == height) {
            return inner;
        }
        byte[] pixels = new byte[height * width * channels];
        Arrays.fill(pixels, (byte) steps.background());
        int top = (height - innerHeight) / 2;
        int left = (width - innerWidth) / 2;
        for (int row = 0; row < innerHeight; row++) {
            int start = ((top + row) * width + left) * channels;
            System.arraycopy(inner, row * innerWidth * channels, pixels, start, innerWidth * channels);
        }
        return pixels;
    }

    /** Returns the middle of a picture. */
    private byte[] middle(byte[] pixels, int fromWidth, int fromHeight, int toWidth, int toHeight) {
        if (fromWidth == toWidth && fromHeight == toHeight) {
            return pixels;
        }
        byte[] part = new byte[toWidth * toHeight * channels];
        int top = (fromHeight - toHeight) / 2;
        int left = (fromWidth - toWidth) / 2;
        for (int row = 0; row < toHeight; row++) {
            int start = ((top + row) * fromWidth + left) * channels;
            System.arraycopy(pixels, start, part, row * toWidth * channels, toWidth * channels);
        }
        return part;
    }

    /** Returns the picture turned as EXIF says (1 to 8; anything else is upright), with the model's channels. */
    private byte[] upright(int[] argb, int fromWidth, int fromHeight, int orientation, int paper) {
        boolean lying = orientation >= 5 && orientation <= 8;
        int toWidth = lying ? fromHeight : fromWidth;
        int toHeight = lying ? fromWidth : fromHeight;
        byte[] pixels = new byte[argb.length * channels];
        int place = 0;
        for (int y = 0; y < toHeight; y++) {
            for (int x = 0; x < toWidth; x++) {
                int alongX = lying ? y : x;
                int alongY = lying ? x : y;
                boolean fromRight = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
                boolean fromBottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
                int sourceX = fromRight ? fromWidth - 1 - alongX : alongX;
                int sourceY = fromBottom ? fromHeight - 1 - alongY : alongY;
                put(argb[sourceY * fromWidth + sourceX], paper, pixels, place);
                place += channels;
            }
        }
        return pixels;
    }

    private void put(int argb, int paper, byte[] pixels, int place) {
        int alpha = argb >>> 24;
        int red = argb >> 16 & 0xFF;
        int green = argb >> 8 & 0xFF;
        int blue = argb & 0xFF;
        if (channels < 4) {
            red = over(red, paper, alpha);
            green = over(green, paper, alpha);
            blue = over(blue, paper, alpha);
        } else {
            pixels[place + 3] = (byte) alpha;
        }
        if (channels == 1) { // ITU-R 601-2
            pixels[place] = (byte) (red * 19595 + green * 38470 + blue * 7471 + 0x8000 >> 16);
            return;
        }
        pixels[place] = (byte) red;
        pixels[place + 1] = (byte) green;
        pixels[place + 2] = (byte) blue;
    }

    /** Returns a level that is `alpha` opaque over an opaque one, with 7 bits more than a byte, as Pillow does. */
    private static int over(int level, int paper, int alpha) {
        if (alpha == 255) {
            return level;
        }
        int sum = (level * alpha + paper * (255 - alpha) << 7) + (0x80 << 7);
        return (sum >> 8) + sum >> 8 >> 7;
    }

    private byte[] resized(byte[] pixels, int fromWidth, int fromHeight, int toWidth, int toHeight) {
        if (fromWidth == toWidth && fromHeight == toHeight) {
            return pixels;
        }
        if (channels < 4 || filter == Resampling.NEAREST) {
            return filter.resized(pixels, fromWidth, fromHeight, channels, toWidth, toHeight);
        }
        byte[] weighted = pixels.clone(); // colours count as much as they are opaque
        for (int place = 0; place < weighted.length; place++) {
            if (place % 4 < 3) {
                int product = (weighted[place] & 0xFF) * (weighted[place | 3] & 0xFF) + 128;
                weighted[place] = (byte) ((product >> 8) + product >> 8);
            }
        }
        byte[] resized = filter.resized(weighted, fromWidth, fromHeight, 4, toWidth, toHeight);
        for (int place = 0; place < resized.length; place++) {
            int alpha = resized[place | 3] & 0xFF;
            if (place % 4 < 3 && alpha != 0 && alpha != 255) {
                resized[place] = (byte) Math.min(255, 255 * (resized[place] & 0xFF) / alpha);
            }
        }
        return resized;
    }

    /** Returns whether the median of the outermost pixels' colours is above 127. */
    private boolean hasBrightBorder(byte[] pixels, int across, int down) {
        long bright = 0;
        long count = 0;
        int lowestBright = 255;
        int highestDark = 0;
        for (int y = 0; y < down; y++) {
            boolean edge = y == 0 || y == down - 1;
            for (int x = 0; x < across; x += edge || x == across - 1 ? 1 : across - 1) {
                for (int channel = 0; channel < Math.min(channels, 3); channel++) {
                    int level = pixels[(y * across + x) * channels + channel] & 0xFF;
                    count++;
                    if (level > 127) {
                        bright++;
                        lowestBright = Math.min(lowestBright, level);
                    } else {
                        highestDark = Math.max(highestDark, level);
                    }
                }
            }
        }
        // With as many bright as dark ones the median is the mean of the two in the middle.
        return 2 * bright == count ? lowestBright + highestDark > 254 : 2 * bright > count;
    }
}
