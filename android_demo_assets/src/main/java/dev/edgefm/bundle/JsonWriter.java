package dev.edgefm.bundle;

import java.util.List;
import java.util.Map;

/** Writes JSON: Map, List, long[], String, Boolean, numbers and null; a BundleException refuses NaN and infinity. */
final class JsonWriter {
    private final StringBuilder text = new StringBuilder();

    private JsonWriter() {}

    static String write(Object value) {
        JsonWriter writer = new JsonWriter();
        writer.value(value);
        return writer.text.append('\n').toString();
    }

    private void value(Object value) {
        if (value instanceof Map<?, ?> members) {
            String before = "{";
            for (Map.Entry<?, ?> member : members.entrySet()) {
                text.append(before);
                string((String) member.getKey());
                text.append(": ");
                value(member.getValue());
                before = ",\n";
            }
            text.append(members.isEmpty() ? "{}" : "}");
        } else if (value instanceof List<?> items) {
            String before = "[";
            for (Object item : items) {
                text.append(before);
                value(item);
                before = ", ";
            }
            text.append(items.isEmpty() ? "[]" : "]");
        } else if (value instanceof long[] samples) {
            text.append('[');
            for (int place = 0; place < samples.length; place++) {
                text.append(place == 0 ? "" : ", ").append(samples[place]);
            }
            text.append(']');
        } else if (value instanceof String characters) {
            string(characters);
        } else if (value instanceof Double number && (number.isNaN() || number.isInfinite())) {
            throw new BundleException("JSON holds no " + number);
        } else {
            text.append(value); // a number, true, false or null
        }
    }

    private void string(String characters) {
        text.append('"');
        for (int place = 0; place < characters.length(); place++) {
            char each = characters.charAt(place);
            if (each == '"' || each == '\\') {
                text.append('\\').append(each);
            } else if (each < ' ' || each > '~') {
                text.append(String.format(java.util.Locale.ROOT, "\\u%04x", (int) each));
            } else {
                text.append(each);
            }
        }
        text.append('"');
    }
}
