"""How a procedural face is made: chance, expression, person, anatomy, light, paint.

``draws`` draws numbers, ``expression`` turns emotions into action units,
``people`` and ``views`` draw persons and scenes, ``anatomy`` places the
features and ``pose`` turns them, ``head``, ``features`` and ``wrinkles`` paint
them with the brushes of ``canvas``, ``light`` falls on them, and ``render``
puts all in order. The public door is :mod:`fer_lib.data.faces`.
"""
