package dev.edgefm.bundle.android

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import dev.edgefm.bundle.BundleException
import dev.edgefm.bundle.Contract
import dev.edgefm.bundle.EdgeModel
import dev.edgefm.bundle.ModelRunner
import dev.edgefm.bundle.Score
import dev.edgefm.bundle.Verdict

/**
 * The model of a bundle in an app's assets. Make one and keep it: loading costs far more than one run. Call it from one
 * thread at a time, and not from the one that draws.
 *
 * @property model feeds the model and says what its outputs mean
 * @property runsBy what runs it: "CompiledModel, CPU", "Interpreter, CPU", ...
 * @property fallback why it is not run by what was asked for; null where it is
 */
class PhoneModel private constructor(
    val model: EdgeModel,
    val runsBy: String,
    val fallback: String?,
    private val runner: AutoCloseable,
) : AutoCloseable {
    /** Returns the most probable classes of a picture. */
    fun top(picture: DecodedPicture, count: Int = 3): List<Score> =
        model.runPicture(picture.argb, picture.width, picture.height, picture.orientation).top(count)

    /** Says whether this phone answers the golden vectors as the place where the bundle was written. */
    fun selfTest(): Verdict = model.selfTest()

    override fun close() = runner.close()

    companion object {
        /**
         * Loads the model by CompiledModel, and by Interpreter where that fails.
         *
         * @param folder of the model in the assets: "edge-model", or "edge-model/NAME" of a bundle of several
         * @param accelerator what CompiledModel is asked to run on
         */
        fun open(context: Context, folder: String = "", accelerator: Accelerator = Accelerator.CPU): PhoneModel {
            val files = AssetFiles(context.assets, folder)
            val contract = EdgeModel.contract(files)
            val asset = files.path(contract.file())
            return try {
                val runner = CompiledModelRunner(context.assets, asset, contract, accelerator)
                phoneModel(files, runner, "CompiledModel, $accelerator", null)
            } catch (error: Exception) {
                interpreter(context, files, contract, error)
            } catch (error: LinkageError) { // there is no build of LiteRT for this processor
                interpreter(context, files, contract, error)
            }
        }

        /** Loads the model by Interpreter, on the CPU. */
        fun openInterpreter(context: Context, folder: String = "", threads: Int = 1): PhoneModel {
            val files = AssetFiles(context.assets, folder)
            val asset = files.path(EdgeModel.contract(files).file())
            return phoneModel(files, loaded { InterpreterRunner(context.assets, asset, threads) }, "Interpreter, CPU", null)
        }

        private fun interpreter(context: Context, files: AssetFiles, contract: Contract, why: Throwable): PhoneModel {
            val runner = loaded { InterpreterRunner(context.assets, files.path(contract.file())) }
            return phoneModel(files, runner, "Interpreter, CPU", why.message ?: why.javaClass.name)
        }

        private fun loaded(load: () -> InterpreterRunner): InterpreterRunner =
            try {
                load()
            } catch (error: LinkageError) {
                throw BundleException("LiteRT does not load on this phone: ${error.message}", error)
            }

        private fun <R> phoneModel(files: AssetFiles, runner: R, runsBy: String, fallback: String?): PhoneModel
            where R : ModelRunner, R : AutoCloseable =
            try {
                PhoneModel(EdgeModel(files, runner), runsBy, fallback, runner)
            } catch (error: RuntimeException) {
                runner.close()
                throw error
            }
    }
}
