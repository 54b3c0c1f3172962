package dev.edgefm.bundle;

import java.nio.ByteBuffer;

/** A frame of a camera, as Android's ImageAnalysis gives it, in the terms of a decoded picture. */
public final class CameraFrame {
    private CameraFrame() {}

    /**
     * Returns the colours of each pixel, row by row from the top left, as EdgeModel takes them.
     *
     * @param rgba bytes of red, green, blue, alpha of each pixel; read from index 0, wherever its position is
     * @param rowStride bytes from a row to the next one; at least pixelStride * width, rows may be padded
     * @param pixelStride bytes from a pixel to the next one, at least 4
     */
    public static int[] argb(ByteBuffer rgba, int rowStride, int pixelStride, int width, int height) {
        long last = (long) rowStride * (height - 1) + (long) pixelStride * (width - 1) + 4;
        if (width < 1 || height < 1 || pixelStride < 4 || rowStride < (long) pixelStride * width - pixelStride + 4
                || last > rgba.capacity()) {
            throw new BundleException("a frame of " + width + " x " + height + " pixels, " + pixelStride
                    + " bytes each and " + rowStride + " a row, does not lie in " + rgba.capacity() + " bytes");
        }
        int[] argb = new int[width * height];
        int place = 0;
        for (int row = 0; row < height; row++) {
            for (int column = 0; column < width; column++) {
                int from = row * rowStride + column * pixelStride;
                argb[place++] = (rgba.get(from + 3) & 0xFF) << 24 | (rgba.get(from) & 0xFF) << 16
                        | (rgba.get(from + 1) & 0xFF) << 8 | (rgba.get(from + 2) & 0xFF);
            }
        }
        return argb;
    }

    /**
     * Returns EXIF's orientation of a frame that must be turned clockwise by so many degrees to stand upright.
     *
     * @param degrees 0, 90, 180 or 270
     */
    public static int orientation(int degrees) {
        return switch (degrees) {
            case 0 -> 1;
            case 90 -> 6;
            case 180 -> 3;
            case 270 -> 8;
            default -> throw new BundleException("a frame is turned by 0, 90, 180 or 270 degrees, not by " + degrees);
        };
    }
}
