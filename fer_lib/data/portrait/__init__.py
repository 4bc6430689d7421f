"""How a procedural face is made: chance, expression, person, anatomy, light, paint.

``hashing`` draws numbers, ``expression`` turns emotions into action units,
``people`` and ``views`` draw persons and scenes, ``anatomy`` places the
features, ``canvas``, ``head``, ``features``, ``wrinkles`` and ``render`` paint
them. The public door is :mod:`fer_lib.data.faces`.
"""
