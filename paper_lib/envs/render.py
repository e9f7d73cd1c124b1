"""Pictures of MuJoCo's simulators, drawn off screen on the bindings directly.

`MUJOCO_GL=disabled` is no obstacle: it only keeps what is not needed for vectors from being loaded with MuJoCo.
"""

import atexit
import functools
import importlib
import os
import sys

import mujoco
import numpy as np

from paper_lib import machine
from paper_lib.contract.errors import UserError

BACK_ENDS = ('egl', 'osmesa')
_renderers = {}


def renderer(task, setting: str, model: mujoco.MjModel, camera: int) -> 'Renderer':
    """The renderer of a task with RunSpec's `render` setting, shared by all environments of this process.

    Their models may differ in what is drawn where, in colours and sizes, but not in textures and meshes.
    Raises UserError, one line, where nothing here can draw.
    """
    if (task.id, setting) not in _renderers:
        _renderers[task.id, setting] = Renderer(model, task.image, camera, setting)
    return _renderers[task.id, setting]


def device() -> str:
    """What draws here, e.g. `GLContext of mujoco.egl on llvmpipe (...)`; a renderer must have been made."""
    from OpenGL import GL  # loaded by the back end, and not before: it must be told which one that is

    back_end = _back_end()
    next(iter(_renderers.values()))._gl.make_current()
    return f'{back_end.__name__} of {back_end.__module__} on {GL.glGetString(GL.GL_RENDERER).decode()}'


class Renderer:
    """Draws one camera of a model, `size` pixels square."""

    def __init__(self, model, size, camera, setting):
        self.shape = (size, size, 3)
        if setting == 'fast':  # shadows differ by less than one can see
            model.vis.quality.shadowsize = 256
            model.vis.global_.offwidth = model.vis.global_.offheight = size
        self._gl = _back_end()(size, size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene, self._option = mujoco.MjvScene(model, 1000), mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        self._rect, self._pixels = mujoco.MjrRect(0, 0, size, size), np.empty(self.shape, np.uint8)
        atexit.register(self._close)

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        """The picture of this state, uint8 (size, size, 3). `data` must hold the positions of bodies and cameras."""
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, everything, self._scene)
        self._gl.make_current()  # whoever drew last may have been another one
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # the first row read is the lowest

    def _close(self):
        """At the end of the process, while the back end is still there: later the bindings would complain."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._gl = None


@functools.cache
def _back_end():
    """The GLContext class of the back end that MUJOCO_GL names, else of the first one that works."""
    choice, platform = os.environ.get('MUJOCO_GL'), os.environ.get('PYOPENGL_PLATFORM')
    failures = []
    for name in (choice,) if choice in BACK_ENDS else BACK_ENDS:
        try:
            back_end = importlib.import_module(f'mujoco.{name}').GLContext
            back_end(1, 1).free()
            return back_end
        except Exception as error:  # of any class: depends on which library is missing
            missing = ', '.join(machine.missing_libraries(name))
            failures.append(f'{name}: {f"no {missing}" if missing else " ".join(str(error).split())}')
            _forget(platform)
    raise UserError(f'pictures cannot be drawn here ({"; ".join(failures)}); `paper-lib doctor` says what is missing')


def _forget(platform):
    """Undo what a failed import leaves behind, else the next back end would meet it."""
    os.environ.pop('PYOPENGL_PLATFORM', None)
    if platform:
        os.environ['PYOPENGL_PLATFORM'] = platform
    for module in [name for name in sys.modules if name.split('.')[0] == 'OpenGL']:
        del sys.modules[module]
