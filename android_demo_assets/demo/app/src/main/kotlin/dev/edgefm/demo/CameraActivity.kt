package dev.edgefm.demo

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle
import android.os.SystemClock
import android.widget.ImageView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import dev.edgefm.bundle.android.DecodedPicture
import dev.edgefm.bundle.android.PhoneModel
import java.util.concurrent.ExecutionException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Answers what the camera shows, frame by frame, as fast as the model is; nothing is stored or sent. */
class CameraActivity : ComponentActivity() {
    /** The thread that alone calls the model; CameraX drops the frames that come while it is busy. */
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private var phone: PhoneModel? = null
    private val asking = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) open() else show("Without the permission there is no picture: allow the camera in the settings.", null)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.camera)
        worker.execute { load() }
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            open()
        } else {
            asking.launch(Manifest.permission.CAMERA)
        }
    }

    override fun onDestroy() {
        worker.execute { phone?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun load() {
        try {
            phone = PhoneModel.open(this, chosenIn(intent))
        } catch (error: RuntimeException) {
            show("The model cannot be loaded: ${error.message}", null)
        }
    }

    private fun open() {
        val coming = ProcessCameraProvider.getInstance(this)
        coming.addListener({
            try {
                bind(coming.get())
            } catch (error: ExecutionException) {
                show("There is no camera: ${error.cause?.message}", null)
            } catch (error: IllegalArgumentException) { // no camera looks away from the screen
                show("There is no such camera: ${error.message}", null)
            }
        }, ContextCompat.getMainExecutor(this))
    }

    private fun bind(cameras: ProcessCameraProvider) {
        val preview = Preview.Builder().build()
        preview.setSurfaceProvider(findViewById<PreviewView>(R.id.preview).surfaceProvider)
        val frames = ImageAnalysis.Builder()
            .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
            .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
            .build()
        frames.setAnalyzer(worker) { frame -> frame.use(::answer) }
        cameras.unbindAll()
        cameras.bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, preview, frames)
    }

    private fun answer(frame: ImageProxy) {
        val model = phone?.model ?: return
        try {
            val start = SystemClock.elapsedRealtimeNanos()
            val plane = frame.planes[0]
            val picture = DecodedPicture.ofFrame(
                plane.buffer,
                plane.rowStride,
                plane.pixelStride,
                frame.width,
                frame.height,
                frame.imageInfo.rotationDegrees,
            )
            val answered = Answered.by(model, picture, start)
            show(answered.text, answered)
        } catch (error: RuntimeException) {
            show("No answer: ${error.message}", null)
        }
    }

    private fun show(text: String, answered: Answered?) = runOnUiThread {
        findViewById<TextView>(R.id.answer).text = text
        findViewById<ImageView>(R.id.seen).setImageBitmap(answered?.seen)
    }
}
