package dev.edgefm.bundle;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Holds a model's answers against golden vectors. Kernels of one family answer alike, to within its tolerance; those of
 * two families round differently, and both are right: so the nearest family counts.
 */
final class SelfTest {
    private static final double LEAST_MAGNITUDE = 1e-30;
    private final BundleFiles files;
    private final Contract contract;

    /** Runs the model on the bytes of an input tensor. */
    interface Invoke {
        byte[][] outputs(byte[] input);
    }

    SelfTest(BundleFiles files, Contract contract) {
        this.files = files;
        this.contract = contract;
    }

    /** Returns the input of the first golden vector. */
    static byte[] firstInput(BundleFiles files) {
        List<JsonObject> vectors = golden(files).objects("vectors");
        if (vectors.isEmpty()) {
            throw new BundleException("there are no golden vectors");
        }
        return EdgeModel.content(files, vectors.get(0).text("input"));
    }

    private static JsonObject golden(BundleFiles files) {
        return new JsonObject(Json.parse(EdgeModel.text(files, "golden/golden.json")), "golden.json");
    }

    Verdict run(Invoke model) {
        if (!sha256(EdgeModel.content(files, contract.file())).equals(contract.sha256())) {
            return Verdict.failed(contract.file() + " is not the file of the contract: it was changed");
        }
        JsonObject golden = golden(files);
        if (!golden.text("model_sha256").equals(contract.sha256())) {
            return Verdict.failed("the golden vectors are of another model");
        }
        List<JsonObject> vectors = golden.objects("vectors");
        List<byte[]> answers = new ArrayList<>();
        for (JsonObject vector : vectors) {
            answers.add(joined(model.outputs(EdgeModel.content(files, vector.text("input")))));
        }
        Verdict nearest = null;
        for (JsonObject family : golden.objects("families")) {
            Verdict verdict = compared(family, vectors, answers);
            boolean nearer = nearest == null
                    || (verdict.held() == nearest.held() ? verdict.share() < nearest.share() : verdict.held());
            nearest = nearer ? verdict : nearest;
        }
        return nearest == null || vectors.isEmpty() ? Verdict.failed("there are no golden vectors") : nearest;
    }

    private Verdict compared(JsonObject family, List<JsonObject> vectors, List<byte[]> answers) {
        List<byte[]> wanted = new ArrayList<>();
        for (JsonObject vector : vectors) {
            String name = vector.object("answers").text(family.text("name"));
            byte[] content = EdgeModel.content(files, name);
            int size = answers.get(wanted.size()).length;
            if (content.length != size) {
                throw new BundleException(name + " has " + content.length + " bytes, the outputs have " + size);
            }
            wanted.add(content);
        }
        JsonObject tolerance = family.object("tolerance");
        double[] allowed = tolerance.has("outputs") ? tolerance.numbers("outputs") : null;
        if (allowed != null && allowed.length != contract.outputs().size()) {
            throw new BundleException("golden.json: outputs is no tolerance of each output");
        }
        boolean near = true;
        double largest = 0;
        int output = 0;
        long other = 0;
        long total = 0;
        int start = 0;
        for (Tensor tensor : contract.outputs()) {
            double apart = 0;
            double magnitude = LEAST_MAGNITUDE;
            for (int place = 0; place < answers.size(); place++) {
                ByteBuffer one = part(answers.get(place), start, tensor);
                ByteBuffer two = part(wanted.get(place), start, tensor);
                for (int each = 0; each < tensor.size(); each++) {
                    double found = tensor.value(one, each);
                    double right = tensor.value(two, each);
                    other += found == right ? 0 : 1; // a NaN is equal to nothing
                    apart = Math.max(apart, difference(found, right));
                    magnitude = Double.isNaN(right) ? magnitude : Math.max(magnitude, Math.abs(right));
                }
                total += tensor.size();
            }
            double found = tensor.quantised() ? apart : apart / magnitude;
            largest = Math.max(largest, found);
            near &= found <= (allowed == null ? tolerance.number("largest") : allowed[output]);
            output++;
            start += tensor.byteSize();
        }
        double share = (double) other / Math.max(total, 1);
        boolean held = near && share <= tolerance.number("share");
        String how = other == 0 ? "bit for bit"
                : String.format(Locale.ROOT, "off by at most %.3g in %.1f %% of the values", largest, 100 * share);
        String text = vectors.size() + " golden vectors, " + family.text("title") + ": " + how
                + (held ? "" : ", which is more than these kernels may differ");
        return new Verdict(held, text, family.text("name"), vectors.size(), largest, share);
    }

    private static double difference(double found, double right) {
        if (found == right || (Double.isNaN(found) && Double.isNaN(right))) {
            return 0;
        }
        double apart = Math.abs(found - right);
        return Double.isNaN(apart) ? Double.POSITIVE_INFINITY : apart;
    }

    private static ByteBuffer part(byte[] content, int start, Tensor tensor) {
        return ByteBuffer.wrap(content, start, tensor.byteSize()).slice().order(ByteOrder.LITTLE_ENDIAN);
    }

    private static byte[] joined(byte[][] outputs) {
        int size = 0;
        for (byte[] output : outputs) {
            size += output.length;
        }
        ByteBuffer joined = ByteBuffer.allocate(size);
        for (byte[] output : outputs) {
            joined.put(output);
        }
        return joined.array();
    }

    private static String sha256(byte[] content) {
        try {
            StringBuilder text = new StringBuilder();
            for (byte each : MessageDigest.getInstance("SHA-256").digest(content)) {
                text.append(Character.forDigit(each >> 4 & 15, 16)).append(Character.forDigit(each & 15, 16));
            }
            return text.toString();
        } catch (NoSuchAlgorithmException error) {
            throw new BundleException("this device knows no SHA-256", error);
        }
    }
}
