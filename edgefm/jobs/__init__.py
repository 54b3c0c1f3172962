"""What edgefm does, one public function a module; each command of the same name is a thin layer over it."""
