"""Draws images of MuJoCo's simulators off screen, with MuJoCo's own bindings.

It also works with `MUJOCO_GL=disabled`, which only stops MuJoCo from loading a renderer
when it is imported.
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
from paper_lib.contract.tasks import Task

BACK_ENDS = tuple(machine.RENDERERS)
_renderers = {}


def renderer(task: Task, setting: str, model: mujoco.MjModel, camera: int) -> 'Renderer':
    """The renderer of a task with RunSpec's `render` setting; all environments of this process share it.

    Their models may differ in positions, colours and sizes, but not in textures and meshes.
    Raises UserError, one line, if no renderer works on this machine.
    """
    if (task.id, setting) not in _renderers:
        _renderers[task.id, setting] = Renderer(model, task.image, camera, setting)
    return _renderers[task.id, setting]


def device() -> str:
    """The renderer of this machine, e.g. `GLContext of mujoco.egl on llvmpipe (...)`. Make one first."""
    from OpenGL import GL  # the back end must load it first, because it decides how it loads

    back_end = _back_end()
    next(iter(_renderers.values()))._gl.make_current()
    return f'{back_end.__name__} of {back_end.__module__} on {GL.glGetString(GL.GL_RENDERER).decode()}'


class Renderer:
    """Draws one camera of a model, `size` pixels square."""

    def __init__(self, model: mujoco.MjModel, size: int, camera: int, setting: str):
        self.shape = (size, size, 3)
        if setting == 'fast':  # the difference in shadows cannot be seen
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
        """The image of a state, uint8 (size, size, 3).

        `data` must hold the positions of bodies and cameras.
        """
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, everything, self._scene)
        self._gl.make_current()  # another renderer may have drawn last
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # rows are read from the lowest up

    def _close(self):
        """Free everything while the back end still exists; later the bindings would complain."""
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
    """Undo what the failed import of a back end leaves behind, so that the next one starts clean."""
    os.environ.pop('PYOPENGL_PLATFORM', None)
    if platform:
        os.environ['PYOPENGL_PLATFORM'] = platform
    for module in [name for name in sys.modules if name.split('.')[0] == 'OpenGL']:
        del sys.modules[module]
