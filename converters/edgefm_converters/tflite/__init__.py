"""Writing .tflite files: conversion, quantising, surgery, metadata."""
