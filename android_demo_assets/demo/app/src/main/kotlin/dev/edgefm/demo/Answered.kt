package dev.edgefm.demo

import android.graphics.Bitmap
import android.os.SystemClock
import dev.edgefm.bundle.EdgeModel
import dev.edgefm.bundle.Invert
import dev.edgefm.bundle.android.DecodedPicture

/** What a picture is answered: its three most probable classes with the times, and the picture as the model sees it. */
class Answered(val text: String, val seen: Bitmap) {
    companion object {
        /** Answers a picture, whose decoding or fetching began at [startNs]. */
        fun by(model: EdgeModel, picture: DecodedPicture, startNs: Long): Answered {
            val pixels = model.pixels(picture.argb, picture.width, picture.height, picture.orientation, Invert.AUTO)
            val prepared = SystemClock.elapsedRealtimeNanos()
            val answer = model.run(pixels)
            val ran = SystemClock.elapsedRealtimeNanos()
            val shape = model.contract().input().shape()
            val seen =
                Bitmap.createBitmap(coloursOf(pixels, shape[3]), shape[2], shape[1], Bitmap.Config.ARGB_8888)
            return Answered(answerText(answer.top(3), prepared - startNs, ran - prepared), seen)
        }
    }
}
