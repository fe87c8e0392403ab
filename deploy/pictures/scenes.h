// The scenes: each draws one kind of picture in the colours of a look.
#ifndef HELIO_DEPLOY_SCENES_H
#define HELIO_DEPLOY_SCENES_H

#include "paint.h"

void scene_mountains(struct paint *p, const struct look *k);
void scene_dunes(struct paint *p, const struct look *k);
void scene_forest(struct paint *p, const struct look *k);
void scene_city(struct paint *p, const struct look *k);
void scene_signal(struct paint *p, const struct look *k);

void scene_sea(struct paint *p, const struct look *k);
void scene_aurora(struct paint *p, const struct look *k);
void scene_clouds(struct paint *p, const struct look *k);
void scene_planet(struct paint *p, const struct look *k);

void scene_circles(struct paint *p, const struct look *k);
void scene_marble(struct paint *p, const struct look *k);
void scene_paper(struct paint *p, const struct look *k);
void scene_glass(struct paint *p, const struct look *k);

#endif
