package dev.edgefm.demo

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ImageView
import android.widget.Spinner
import android.widget.TextView
import dev.edgefm.bundle.android.DecodedPicture
import dev.edgefm.bundle.android.PhoneModel
import java.io.IOException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Answers a picture from the gallery with its three most probable classes, by the model that is chosen. */
class MainActivity : Activity() {
    /** The thread that alone calls the model. */
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private var phone: PhoneModel? = null
    private var picture: Uri? = null
    private var folder = FOLDER

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        findViewById<Button>(R.id.choose).setOnClickListener { choose() }
        val screens = mapOf(
            R.id.camera to CameraActivity::class.java,
            R.id.self_test to SelfTestActivity::class.java,
            R.id.benchmark to BenchmarkActivity::class.java,
        )
        for ((button, screen) in screens) {
            findViewById<Button>(button).setOnClickListener { startActivity(Intent(this, screen).putExtra(CHOSEN, folder)) }
        }
        offer(foldersIn(assets))
    }

    override fun onDestroy() {
        worker.execute { phone?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    // Without AndroidX there is no other way to ask for a result.
    @Deprecated("Deprecated in Java")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val uri = data?.data
        if (requestCode == PICTURE && resultCode == RESULT_OK && uri != null) {
            worker.execute { answer(uri) }
        }
    }

    /** Loads the only model, or lets the user choose: Android selects the first one when the screen is laid out. */
    private fun offer(folders: List<String>) {
        if (folders.size == 1) return use(folders[0])
        val models = findViewById<Spinner>(R.id.model)
        val names = folders.map { it.substringAfterLast('/') }
        models.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
        models.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) =
                use(folders[position])

            override fun onNothingSelected(parent: AdapterView<*>?) = Unit
        }
        models.visibility = View.VISIBLE
    }

    private fun use(chosen: String) {
        folder = chosen
        worker.execute { load(chosen) }
    }

    private fun choose() {
        val picture = Intent(Intent.ACTION_GET_CONTENT).setType("image/*").addCategory(Intent.CATEGORY_OPENABLE)
        @Suppress("DEPRECATION")
        startActivityForResult(picture, PICTURE)
    }

    private fun load(chosen: String) {
        phone?.close()
        phone = null
        val status = try {
            val opened = PhoneModel.open(this, chosen)
            phone = opened
            statusText(opened.runsBy, opened.fallback)
        } catch (error: RuntimeException) {
            "The model cannot be loaded: ${error.message}"
        }
        runOnUiThread {
            findViewById<TextView>(R.id.status).text = status
            val takes = phone?.model?.contract()?.takesPictures() == true
            for (button in listOf(R.id.choose, R.id.camera)) {
                findViewById<Button>(button).isEnabled = takes
            }
        }
        picture?.let { answer(it) } // the one that is shown was answered by another model
    }

    private fun answer(uri: Uri) {
        picture = uri
        val model = phone?.model ?: return show("", null)
        try {
            val start = SystemClock.elapsedRealtimeNanos()
            val picture = DecodedPicture.read {
                contentResolver.openInputStream(uri) ?: throw IOException("the picture cannot be opened")
            }
            val answered = Answered.by(model, picture, start)
            show(answered.text, answered)
        } catch (error: IOException) {
            show("This picture cannot be read: ${error.message}", null)
        } catch (error: RuntimeException) {
            show("No answer: ${error.message}", null)
        }
    }

    private fun show(text: String, answered: Answered?) = runOnUiThread {
        findViewById<TextView>(R.id.answer).text = text
        findViewById<ImageView>(R.id.seen).setImageBitmap(answered?.seen)
    }

    private companion object {
        const val PICTURE = 1
    }
}
