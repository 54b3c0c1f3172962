package dev.edgefm.bundle;

/** Whether a picture's brightness is inverted: 255 - level. */
public enum Invert {
    /** Where the model learnt bright things on dark, and the picture's border is bright: its median is above 127. */
    AUTO,
    YES,
    NO
}
