package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.List;

/**
 * What goes into the model and what comes out, as contract.json says it.
 *
 * @param name of the model
 * @param variant how it was compressed
 * @param file name of the model's file
 * @param sha256 of that file, hexadecimal
 * @param input tensor
 * @param outputs tensors, in the model's order
 * @param mean real input = (pixel - mean) / std
 * @param std see mean
 * @param noPixels why no pixels go in; null where they do
 * @param pictures how a picture becomes pixels; null where no pictures go in
 * @param labels in the order of the first output; empty where it holds no classes
 * @param task "classification", "multilabel", another one, or ""
 * @param head "softmax", "sigmoid", "logits", "values" or ""
 */
public record Contract(
        String name, String variant, String file, String sha256, Tensor input, List<Tensor> outputs, float mean,
        float std, String noPixels, PictureSteps pictures, List<String> labels, String task, String head) {
    private static final int VERSION = 3;

    /** What the first output means. */
    public enum Meaning {
        /** One probability a label, one label is right. */
        CLASSES,
        /** A single probability, that of the second of two labels. */
        SECOND,
        /** One probability a label, each for itself. */
        LABELS,
        /** One class at each place of a picture or a sequence. */
        PLACES,
        /** Numbers. */
        VALUES
    }

    /** Returns the contract that a JSON text holds; a BundleException says what is wrong with it. */
    public static Contract parse(String json) {
        JsonObject value = new JsonObject(Json.parse(json), "contract.json");
        if (!value.text("kind").equals("model-contract")) {
            throw new BundleException("contract.json is no model contract");
        }
        if (value.number("schema_version") != VERSION) {
            throw new BundleException("contract.json is of version " + (int) value.number("schema_version")
                    + "; this adapter reads version " + VERSION + ": take the adapter of the same bundle");
        }
        List<Tensor> outputs = new ArrayList<>();
        for (JsonObject output : value.objects("outputs")) {
            outputs.add(Tensor.read(output));
        }
        if (outputs.isEmpty()) {
            throw new BundleException("contract.json names no outputs");
        }
        Tensor input = Tensor.read(value.object("input"));
        JsonObject how = value.object("preprocessing");
        String noPixels = how.textOrNull("no_pixels");
        StepReader steps = new StepReader(how.objects("steps"));
        int[] shape = input.shape();
        boolean picture = shape.length == 4 && (shape[3] == 1 || shape[3] == 3 || shape[3] == 4);
        PictureSteps pictures = noPixels == null && picture ? PictureSteps.read(steps, input) : null;
        float mean = 0;
        float std = 1;
        if (noPixels == null && (input.quantised() || input.dtype().equals("float32"))) {
            steps.next("range", 3);
            mean = (float) steps.number("mean");
            std = (float) steps.number("std");
        }
        if (input.quantised()) {
            steps.next("quantise", 4);
            steps.choice("dtype", input.dtype());
            steps.number("scale", value.object("input").number("scale"));
            steps.number("zero_point", input.zeroPoint());
        }
        steps.end();
        return new Contract(
                value.text("name"), value.text("variant"), value.text("file"), value.text("sha256"), input, outputs, mean,
                std, noPixels, pictures, value.texts("labels"), value.has("task") ? value.text("task") : "",
                value.has("head") ? value.text("head") : "");
    }

    /** Returns whether pictures go in: pixels of 1 (grey), 3 (RGB) or 4 (RGBA) channels. */
    public boolean takesPictures() {
        return pictures != null;
    }

    /** Returns what the first output means. */
    public Meaning meaning() {
        Tensor output = outputs.get(0);
        int[] shape = output.shape();
        int last = shape.length == 0 ? 1 : shape[shape.length - 1];
        if (!labels.isEmpty() && output.size() == labels.size()) {
            return task.equals("multilabel") ? Meaning.LABELS : Meaning.CLASSES;
        }
        if (labels.size() == 2 && output.size() == 1) {
            return Meaning.SECOND;
        }
        if (task.equals("segmentation") || (!labels.isEmpty() && shape.length > 2 && last == labels.size())) {
            return Meaning.PLACES;
        }
        return Meaning.VALUES;
    }
}
