package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What a model answers to one sample. */
public final class Answer {
    private final Contract contract;
    private final float[][] values;

    Answer(Contract contract, float[][] values) {
        this.contract = contract;
        this.values = values;
    }

    /** Returns the real values of an output, the last index of its shape runs fastest. */
    public float[] values(int output) {
        return values[output].clone();
    }

    /** Returns the first output as probabilities: logits go through a softmax or a sigmoid, others are as given. */
    public float[] probabilities() {
        float[] scores = values(0);
        if (!contract.head().equals("logits")) {
            return scores;
        }
        int[] shape = contract.outputs().get(0).shape();
        int last = shape.length == 0 ? 1 : shape[shape.length - 1];
        boolean alone = contract.task().equals("multilabel") || last == 1;
        for (int start = 0; start < scores.length; start += last) {
            if (alone) {
                sigmoid(scores, start, last);
            } else {
                softmax(scores, start, last);
            }
        }
        return scores;
    }

    /** Returns each label with its probability, in the order of labels.txt. */
    public List<Score> scores() {
        float[] scores = probabilities();
        if (contract.meaning() == Contract.Meaning.SECOND) {
            scores = new float[] {1 - scores[0], scores[0]};
        }
        List<String> labels = contract.labels();
        if (labels.isEmpty() || scores.length != labels.size()) {
            throw new BundleException("this model's first output holds no classes: take values or places");
        }
        List<Score> answer = new ArrayList<>();
        for (int place = 0; place < scores.length; place++) {
            answer.add(new Score(labels.get(place), scores[place]));
        }
        return answer;
    }

    /** Returns the most probable classes, the greatest first; equal ones in the order of labels.txt. */
    public List<Score> top(int count) {
        List<Score> sorted = scores();
        Collections.sort(sorted, (one, other) -> Float.compare(other.probability(), one.probability()));
        return new ArrayList<>(sorted.subList(0, Math.max(0, Math.min(count, sorted.size()))));
    }

    /** Returns the most probable class at each place of a picture or a sequence, from 0. */
    public int[] places() {
        if (contract.meaning() != Contract.Meaning.PLACES) {
            throw new BundleException("this model's first output holds no class a place");
        }
        int[] shape = contract.outputs().get(0).shape();
        int classes = shape[shape.length - 1];
        float threshold = contract.head().equals("logits") ? 0 : 0.5f;
        int[] answer = new int[values[0].length / classes];
        for (int place = 0; place < answer.length; place++) {
            if (classes == 1) {
                answer[place] = values[0][place] > threshold ? 1 : 0;
                continue;
            }
            for (int each = 1; each < classes; each++) {
                if (values[0][place * classes + each] > values[0][place * classes + answer[place]]) {
                    answer[place] = each;
                }
            }
        }
        return answer;
    }

    private static void sigmoid(float[] scores, int start, int count) {
        for (int place = start; place < start + count; place++) {
            scores[place] = (float) (1 / (1 + Math.exp(-(double) scores[place])));
        }
    }

    private static void softmax(float[] scores, int start, int count) {
        double greatest = Double.NEGATIVE_INFINITY;
        for (int place = start; place < start + count; place++) {
            greatest = Math.max(greatest, scores[place]);
        }
        double[] powers = new double[count];
        double sum = 0;
        for (int place = 0; place < count; place++) {
            powers[place] = Math.exp(scores[start + place] - greatest);
            sum += powers[place];
        }
        for (int place = 0; place < count; place++) {
            scores[start + place] = (float) (powers[place] / sum);
        }
    }
}
