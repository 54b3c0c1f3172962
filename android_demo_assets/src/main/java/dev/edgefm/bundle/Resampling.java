package dev.edgefm.bundle;

/**
 * Resizes pictures as Pillow 13 does, byte for byte: a pass along rows and one along columns, each with antialiasing
 * and rounded to 8 bits, in fixed-point arithmetic of 22 bits.
 *
 * <p>Source: what Pillow documents of Image.resize and its filters; checked against Pillow itself.
 */
enum Resampling {
    NEAREST(0) {
        @Override
        double weight(double distance) {
            throw new IllegalStateException("the nearest pixel is taken as it is");
        }

        @Override
        byte[] resized(byte[] pixels, int width, int height, int channels, int newWidth, int newHeight) {
            byte[] resized = new byte[newWidth * newHeight * channels];
            int[] columns = nearest(width, newWidth);
            int[] rows = nearest(height, newHeight);
            int place = 0;
            for (int row : rows) {
                for (int column : columns) {
                    System.arraycopy(pixels, (row * width + column) * channels, resized, place, channels);
                    place += channels;
                }
            }
            return resized;
        }
    },
    BOX(0.5) {
        @Override
        double weight(double distance) {
            return distance > -0.5 && distance <= 0.5 ? 1 : 0;
        }
    },
    BILINEAR(1) {
        @Override
        double weight(double distance) {
            double away = Math.abs(distance);
            return away < 1 ? 1 - away : 0;
        }
    },
    BICUBIC(2) {
        @Override
        double weight(double distance) {
            double x = Math.abs(distance);
            if (x < 1) {
                return ((SLOPE + 2) * x - (SLOPE + 3)) * x * x + 1;
            }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * SLOPE : 0;
        }
    },
    LANCZOS(3) {
        @Override
        double weight(double distance) {
            return distance >= -3 && distance < 3 ? sinc(distance) * sinc(distance / 3) : 0;
        }
    };

    private static final int BITS = 22;
    private static final double SLOPE = -0.5;
    private final double support;

    Resampling(double support) {
        this.support = support;
    }

    /** Returns the filter that a contract names, one of those that PictureSteps lets pass. */
    static Resampling of(String name) {
        return switch (name) {
            case "nearest" -> NEAREST;
            case "box" -> BOX;
            case "bilinear" -> BILINEAR;
            case "bicubic" -> BICUBIC;
            default -> LANCZOS;
        };
    }

    /** Returns which old pixel each new one is; the sum runs along as in Pillow, whose last bit decides at a tie. */
    private static int[] nearest(int size, int newSize) {
        double scale = (double) size / newSize;
        double along = scale * 0.5;
        int[] places = new int[newSize];
        for (int place = 0; place < newSize; place++) {
            places[place] = Math.min((int) along, size - 1);
            along += scale;
        }
        return places;
    }

    /** Returns the weight of a pixel at a distance, in pixels of the coarser of the two grids. */
    abstract double weight(double distance);

    /**
     * Returns a picture of another size.
     *
     * @param pixels [height, width, channels], 0 to 255, the last index runs fastest; is not changed
     */
    byte[] resized(byte[] pixels, int width, int height, int channels, int newWidth, int newHeight) {
        // The order shows in the last bit: Pillow 13 takes columns first where many more rows go; older ones never do.
        if (newHeight <= height && height - newHeight > 2L * (width - newWidth)) {
            byte[] low = down(pixels, width, height, channels, newHeight);
            return across(low, width, newHeight, channels, newWidth);
        }
        byte[] narrow = across(pixels, width, height, channels, newWidth);
        return down(narrow, newWidth, height, channels, newHeight);
    }

    private byte[] across(byte[] pixels, int width, int height, int channels, int newWidth) {
        if (newWidth == width) {
            return pixels;
        }
        byte[] resized = new byte[newWidth * height * channels];
        Weights weights = new Weights(width, newWidth);
        for (int row = 0; row < height; row++) {
            weights.apply(pixels, row * width * channels, resized, row * newWidth * channels, channels);
        }
        return resized;
    }

    private byte[] down(byte[] pixels, int width, int height, int channels, int newHeight) {
        if (newHeight == height) {
            return pixels;
        }
        byte[] resized = new byte[width * newHeight * channels];
        new Weights(height, newHeight).apply(pixels, 0, resized, 0, width * channels);
        return resized;
    }

    private static double sinc(double x) {
        if (x == 0) {
            return 1;
        }
        double angle = x * Math.PI;
        return StrictMath.sin(angle) / angle;
    }

    /** For each place of a new line of pixels: which of the old ones it is made of, by which fixed-point weights. */
    private final class Weights {
        private final int[] first;
        private final int[][] weights;

        Weights(int size, int newSize) {
            first = new int[newSize];
            weights = new int[newSize][];
            double scale = (double) size / newSize;
            double stretched = Math.max(scale, 1);
            double reach = support * stretched;
            for (int place = 0; place < newSize; place++) {
                double centre = (place + 0.5) * scale;
                first[place] = Math.max((int) (centre - reach + 0.5), 0);
                double[] exact = new double[Math.min((int) (centre + reach + 0.5), size) - first[place]];
                double sum = 0;
                for (int each = 0; each < exact.length; each++) {
                    exact[each] = weight((each + first[place] - centre + 0.5) * (1.0 / stretched));
                    sum += exact[each];
                }
                weights[place] = new int[exact.length];
                for (int each = 0; each < exact.length; each++) {
                    double share = (sum == 0 ? exact[each] : exact[each] / sum) * (1 << BITS);
                    weights[place][each] = (int) (share < 0 ? share - 0.5 : share + 0.5);
                }
            }
        }

        /** Fills new pixels of `width` bytes from old ones; they lie one behind the other. */
        void apply(byte[] from, int start, byte[] to, int newStart, int width) {
            for (int place = 0; place < first.length; place++) {
                int[] mine = weights[place];
                for (int lane = 0; lane < width; lane++) {
                    int sum = 1 << (BITS - 1);
                    int source = start + first[place] * width + lane;
                    for (int weight : mine) {
                        sum += (from[source] & 0xFF) * weight;
                        source += width;
                    }
                    to[newStart + place * width + lane] = (byte) Math.max(0, Math.min(255, sum >> BITS));
                }
            }
        }
    }
}
